import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "@/lib/errors";
import { SecondFactor } from "./second-factor";

const { call } = vi.hoisted(() => ({ call: vi.fn() }));
vi.mock("@/lib/api", () => ({ call }));

let isOn: boolean;
let confirm: () => { recoveryCodes: string[] };

/** A server that keeps whether it is on. */
function answer({ method = "GET", url }: { method?: string; url: string }): unknown {
  if (url === "/auth/totp/confirm") return confirm();
  if (url === "/auth/totp/recovery-codes") return { recoveryCodes: ["new-1"] };
  return method === "POST" ? { secret: "ABC", uri: "otpauth://totp/ada" } : { enabled: isOn, confirmedAt: null, recoveryCodesLeft: 1 };
}

const press = (name: string): boolean => fireEvent.click(screen.getByRole("button", { name }));

function write(label: string, value: string): void {
  fireEvent.change(screen.getByLabelText(label), { target: { value } });
}

async function enterCode(): Promise<void> {
  fireEvent.click(await screen.findByRole("button", { name: "Turn on" }));
  write("Password", "secret");
  press("Go on");
  await screen.findByText("ABC");
  write("Code", "123456");
  press("Go on");
}

beforeEach(() => {
  isOn = false;
  call.mockReset().mockImplementation(async (request: { url: string }) => answer(request));
  render(<SecondFactor />);
});
afterEach(cleanup);

it("fresh recovery codes stay until somebody says that they have them", async () => {
  confirm = () => ({ recoveryCodes: ["one-1"] });
  await enterCode();
  const code = await screen.findByText("one-1");
  fireEvent.keyDown(code, { key: "Escape" });
  expect(screen.queryByRole("button", { name: "Close" })).toBeNull();
  expect(screen.queryByText("one-1")).not.toBeNull();
  press("I have kept them");
  await vi.waitFor(() => expect(screen.queryByText("one-1")).toBeNull());
});

it("whose codes were lost on the way is told that it is on, and makes new ones", async () => {
  confirm = () => {
    const failure = isOn ? "conflict" : "network";
    isOn = true;
    throw new ApiError({ code: failure, message: failure });
  };
  await enterCode();
  await screen.findByText("Network");
  press("Go on");
  await screen.findByText(/The second factor is on, but its recovery codes were lost/);
  write("Password", "secret");
  write("Code, or a recovery code", "654321");
  press("Make new codes");
  expect(await screen.findByText("new-1")).toBeTruthy();
});
