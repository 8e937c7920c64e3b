import axios, { type InternalAxiosRequestConfig } from "axios";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { addFiles, resetUploads, uploadAvatar, useUploads } from "./uploads";

// Nothing is tested of the calls; the bytes go through axios, whose link is the test's.
vi.mock("./api", () => ({
  apiBase: () => "",
  call: async ({ url }: { url: string }) =>
    url === "/files" ? { fileId: "f", upload: { url: "/put", method: "PUT", headers: {} } } : { file: { id: "f" } },
}));
const usual = axios.defaults.adapter;
let link: InternalAxiosRequestConfig;
let arrived: () => void;

function sent(loaded: number): void {
  link.onUploadProgress?.({ loaded, total: 100, bytes: loaded, lengthComputable: true });
}

beforeEach(() => {
  vi.useFakeTimers();
  axios.defaults.adapter = (config) =>
    new Promise((resolve, reject) => {
      link = config;
      arrived = () => resolve({ data: {}, status: 200, statusText: "", headers: {}, config });
      config.signal?.addEventListener?.("abort", () => reject(new axios.CanceledError()));
    });
});
afterEach(() => {
  axios.defaults.adapter = usual;
  resetUploads();
  vi.useRealTimers();
});

it("an upload that stands still is given up, one that goes on is not, however long it takes", async () => {
  addFiles("s", [new File(["x".repeat(100)], "film.bin")]);
  await vi.advanceTimersByTimeAsync(0);
  for (const loaded of [10, 20, 30]) {
    await vi.advanceTimersByTimeAsync(59_999);
    sent(loaded);
  }
  expect(useUploads.getState().uploads[0]).toMatchObject({ progress: 0.3, failure: null });
  await vi.advanceTimersByTimeAsync(59_999);
  expect(useUploads.getState().uploads[0]?.failure).toBeNull();
  await vi.advanceTimersByTimeAsync(1);
  expect(useUploads.getState().uploads[0]?.failure).toBe("The upload stood still.");
});

it("an upload that has arrived is not given up afterwards", async () => {
  addFiles("s", [new File(["x"], "note.txt")]);
  await vi.advanceTimersByTimeAsync(0);
  arrived();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(useUploads.getState().uploads[0]).toMatchObject({ attachment: { id: "f" }, failure: null });
  expect(vi.getTimerCount()).toBe(0);
});

it("the picture of an avatar is cut when its upload is cancelled", async () => {
  const cut = new AbortController();
  const heard: number[] = [];
  const work = uploadAvatar(new File(["x"], "me.png"), cut.signal, (progress) => heard.push(progress));
  const ended = expect(work).rejects.toBeDefined();
  await vi.advanceTimersByTimeAsync(0);
  sent(50);
  expect(heard).toEqual([0.5]);
  cut.abort();
  await ended;
  expect(link.signal?.aborted).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});
