import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { Markdown } from "./markdown";
import { PlainIfBroken } from "./plain-if-broken";

afterEach(cleanup);

it.each([
  ["quotes", `${">".repeat(4000)}x`],
  ["lists", `${"- ".repeat(2000)}x`],
  ["numbers", `${"1. ".repeat(4000)}x`],
  ["lists and quotes", `hi\n${"> * ".repeat(60)}x`],
  ["emphasis", `${"*".repeat(8000)}a${"*".repeat(8000)}`],
  ["brackets", "[".repeat(16_000)],
])("a message that nests too deeply is shown as it was written: %s", (_, text) => {
  const { container } = render(<Markdown text={text} />);
  expect(container.querySelector("p")?.textContent).toBe(text);
  expect(container.querySelector("ul, ol, blockquote, em, strong")).toBeNull();
});

it.each([
  ["a line across", "-".repeat(90), "hr"],
  ["stars across", "*".repeat(90), "hr"],
  ["a list of many", "- one\n".repeat(200), "li"],
  ["a list in a list in a quote", "> - - one", "blockquote ul ul"],
])("a usual message is not: %s", (_, text, element) => {
  const { container } = render(<Markdown text={text} />);
  expect(container.querySelector(element)).not.toBeNull();
});

it("a message whose markup fails is shown as it was written, and its next text anew", () => {
  vi.spyOn(console, "error").mockReturnValue(undefined); // React tells what a boundary has caught
  const Failing = (): never => {
    throw new RangeError("Maximum call stack size exceeded");
  };
  const shown = (text: string) => <PlainIfBroken text={text}>{text === "*a*" ? <Failing /> : "in markup"}</PlainIfBroken>;
  const { rerender } = render(shown("*a*"));
  expect(screen.getByText("*a*")).toBeTruthy();
  rerender(shown("b"));
  expect(screen.getByText("in markup")).toBeTruthy();
});
