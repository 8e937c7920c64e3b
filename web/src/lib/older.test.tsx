import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "./errors";
import { useEdges } from "./older";

const ROW = 100; // pixels
const PLACE = 1000; // pixels of the view
let isAway = false;
let asked = 0;

/** A list of fifty-five rows at most, five a page. */
function List() {
  const [rows, setRows] = useState(5);
  const load = async (): Promise<void> => {
    asked += 1;
    await Promise.resolve();
    if (isAway) throw new ApiError({ code: "network", message: "The server cannot be reached." });
    setRows((shown) => shown + 5);
  };
  const { view, failure, look, again } = useEdges(rows, false, () => (rows < 55 ? load : null));
  return (
    <>
      <div
        ref={(element) => {
          view.current = element;
          if (!element) return;
          Object.defineProperty(element, "clientHeight", { value: PLACE, configurable: true });
          Object.defineProperty(element, "scrollHeight", { value: Math.max(PLACE, rows * ROW), configurable: true });
        }}
        data-testid="view"
        onScroll={look}
      >
        {rows} rows
      </div>
      {failure ? <button onClick={again}>{failure}</button> : null}
    </>
  );
}

/** Let pages come as long as they are asked for, frame by frame: `act` draws at its end. */
async function settle(): Promise<void> {
  for (let frame = 0; frame < 60; frame += 1) await act(() => vi.advanceTimersByTimeAsync(8));
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("ResizeObserver", class {
    observe(): void {}
    disconnect(): void {}
  });
  isAway = false;
  asked = 0;
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("a place that pages do not fill gets one after the other until it can be scrolled, and then none", async () => {
  render(<List />);
  await settle();
  expect(screen.getByTestId("view").textContent).toBe("15 rows"); // 10 fill it to the pixel: nothing to scroll
  expect(asked).toBe(2);
  fireEvent.scroll(screen.getByTestId("view"));
  await settle();
  expect(screen.getByTestId("view").textContent).toBe("20 rows");
});

it("a page that did not come is told, and asked for again by a person alone", async () => {
  isAway = true;
  render(<List />);
  await settle();
  const again = screen.getByRole("button", { name: "The server cannot be reached." });
  fireEvent.scroll(screen.getByTestId("view"));
  await settle();
  expect(asked).toBe(1);
  isAway = false;
  fireEvent.click(again);
  await settle();
  expect(screen.queryByRole("button")).toBeNull();
  expect(screen.getByTestId("view").textContent).toBe("15 rows");
});
