"use client";

import { ArrowLeft } from "lucide-react";
import Link from "next/link";
import { buttonClass } from "@/components/ui/button";
import { Account } from "./account";
import { Appearance } from "./appearance";
import { Devices } from "./devices";
import { History } from "./history";
import { Profile } from "./profile";
import { Programs } from "./programs";
import { Security } from "./security";

/** Everything about one's own account. */
export function SettingsPage() {
  return (
    <main className="mx-auto min-h-dvh max-w-2xl px-4 py-6">
      <div className="mb-6 flex items-center gap-3">
        <Link href="/chat/" aria-label="Back to the chat" className={buttonClass({ look: "ghost", size: "icon" })}>
          <ArrowLeft size={20} aria-hidden />
        </Link>
        <h1 className="text-2xl font-semibold tracking-tight">Settings</h1>
      </div>
      <div className="space-y-8">
        <Profile />
        <Appearance />
        <Security />
        <Devices />
        <Programs />
        <History />
        <Account />
      </div>
    </main>
  );
}
