import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import type { AxiosRequestConfig } from "axios";
import { afterEach, expect, it, vi } from "vitest";
import { SearchDialog } from "./search-dialog";

type Answer = (page: { results: unknown[]; nextCursor: string | null }) => void;
const asked: { request: AxiosRequestConfig; answer: Answer }[] = [];

vi.mock("@/lib/api", () => ({
  apiBase: () => "",
  call: (request: AxiosRequestConfig) => new Promise((answer) => asked.push({ request, answer })),
}));
vi.mock("@/lib/rooms", () => ({ openRoom: () => undefined, showMessage: () => undefined }));

afterEach(cleanup);

function result(text: string): unknown {
  const sender = { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" };
  const message = { id: text, sessionId: "s", sender, content: text, createdAt: "2026-11-01T10:00:00Z" };
  return { message, snippet: { text, hits: [] } };
}

it("the page after belongs to its words: it does not come among what is found for others", async () => {
  render(<SearchDialog />);
  const box = screen.getByRole("combobox", { name: "Messages" });
  fireEvent.change(box, { target: { value: "tea" } });
  await vi.waitUntil(() => asked.length === 1);
  asked[0]?.answer({ results: [result("green tea")], nextCursor: "next" });
  fireEvent.click(await screen.findByRole("button", { name: "More" }));
  fireEvent.click(screen.getByRole("button", { name: "More" })); // twice: one page is asked for
  expect(asked).toHaveLength(2);
  expect(asked[1]?.request.params).toEqual({ q: "tea", cursor: "next" });
  fireEvent.change(box, { target: { value: "sea" } });
  expect(asked[1]?.request.signal?.aborted).toBe(true);
  await vi.waitUntil(() => asked.length === 3);
  asked[2]?.answer({ results: [result("deep sea")], nextCursor: null });
  expect(await screen.findByText("deep sea")).toBeTruthy();
  asked[1]?.answer({ results: [result("black tea")], nextCursor: null });
  await Promise.resolve();
  expect(screen.queryByText("black tea")).toBeNull();
  expect(screen.queryByText("green tea")).toBeNull();
});
