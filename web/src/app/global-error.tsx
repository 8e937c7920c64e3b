"use client";

import { BrokenPage } from "@/components/broken-page";
import "./globals.css";

/** For what fails in the layout itself, which it replaces. */
export default function GlobalError() {
  return (
    <html lang="en">
      <body>
        <BrokenPage />
      </body>
    </html>
  );
}
