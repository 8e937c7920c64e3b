import { beforeEach, expect, it, vi } from "vitest";
import { setTheme, startTheme, useUi } from "./ui";

let systemIsDark = false;
let systemChanged = (): void => undefined;

beforeEach(() => {
  localStorage.clear();
  systemIsDark = false;
  vi.stubGlobal("matchMedia", () => ({
    get matches() {
      return systemIsDark;
    },
    addEventListener: (_: string, listener: () => void) => {
      systemChanged = listener;
    },
    removeEventListener: () => undefined,
  }));
});

it("is dark as the system is, until somebody chooses", () => {
  systemIsDark = true;
  startTheme();
  expect(useUi.getState()).toMatchObject({ theme: "system", isDark: true });
  systemIsDark = false;
  systemChanged();
  expect(useUi.getState().isDark).toBe(false);
  setTheme("dark");
  systemChanged();
  expect(useUi.getState()).toMatchObject({ theme: "dark", isDark: true });
  expect(document.documentElement.classList.contains("dark")).toBe(true);
});
