import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { ApiError } from "@/lib/errors";
import { ProofForm } from "./proof-form";

afterEach(cleanup);

const button = (): HTMLButtonElement => screen.getByRole("button", { name: "End it" });

it("a password is asked for, and a wrong one is told where it was written", async () => {
  const refusal = new ApiError({ code: "forbidden", message: "no", details: { reason: "wrong_password" } });
  const prove = vi.fn().mockRejectedValue(refusal);
  render(<ProofForm action="End it" onProve={prove} />);
  expect(button().disabled).toBe(true);
  fireEvent.change(screen.getByLabelText("Password"), { target: { value: "guess" } });
  fireEvent.click(button());
  expect(await screen.findByText("That is not your password.")).toBeTruthy();
  expect(prove).toHaveBeenCalledExactlyOnceWith("guess");
});

it("an account that has no password does it without one, where the server allows that", async () => {
  const prove = vi.fn().mockResolvedValue(undefined);
  render(<ProofForm action="End it" takesNone onProve={prove} />);
  fireEvent.click(button());
  await vi.waitFor(() => expect(prove).toHaveBeenCalledExactlyOnceWith(""));
});
