import { Component, type ReactNode } from "react";

interface PlainIfBrokenProps {
  text: string;
  children: ReactNode;
}

/** A message as it was written, without any markup. */
export function PlainText({ text }: { text: string }) {
  return <p className="whitespace-pre-wrap">{text}</p>;
}

/** Shows a text as it was written when what should have shown it fails: one message takes no page with it. */
export class PlainIfBroken extends Component<PlainIfBrokenProps, { text: string; isBroken: boolean }> {
  override state = { text: this.props.text, isBroken: false };

  static getDerivedStateFromError(): { isBroken: boolean } {
    return { isBroken: true };
  }

  static getDerivedStateFromProps({ text }: PlainIfBrokenProps, state: { text: string }): { text: string; isBroken: boolean } | null {
    return text === state.text ? null : { text, isBroken: false }; // another text may do
  }

  override render(): ReactNode {
    return this.state.isBroken ? <PlainText text={this.props.text} /> : this.props.children;
  }
}
