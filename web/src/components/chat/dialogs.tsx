"use client";

import { useEffect } from "react";
import { useChat } from "@/stores/chat";
import { openDialog, useUi } from "@/stores/ui";
import { DetailsDialog } from "./details-dialog";
import { HelpDialog } from "./help-dialog";
import { NewDialog } from "./new-dialog";
import { PinsDialog } from "./pins-dialog";
import { QuickSwitcher } from "./quick-switcher";
import { SearchDialog } from "./search-dialog";

/** The window that is open, if one is: each begins anew when it opens. */
export function Dialogs() {
  const dialog = useUi((ui) => ui.dialog);
  const hasOpen = useChat((chat) => chat.openId !== null && chat.openId in chat.sessions);
  const isWithout = !hasOpen && (dialog === "details" || dialog === "pins");
  useEffect(() => {
    if (isWithout) openDialog(null); // else it would come back with the next conversation
  }, [isWithout]);
  switch (dialog) {
    case "switcher":
      return <QuickSwitcher />;
    case "new":
      return <NewDialog />;
    case "search":
      return <SearchDialog />;
    case "details":
      return <DetailsDialog />;
    case "pins":
      return <PinsDialog />;
    case "help":
      return <HelpDialog />;
    default:
      return null;
  }
}
