"use client";

import { HelpCircle, LogOut, Moon, MessageSquarePlus, Search, Settings, Sun } from "lucide-react";
import { useRouter } from "next/navigation";
import { useEffect, useMemo } from "react";
import { Logo } from "@/components/logo";
import { Avatar } from "@/components/ui/avatar";
import { Button } from "@/components/ui/button";
import { Menu, MenuItem, MenuLine } from "@/components/ui/menu";
import { Tooltip } from "@/components/ui/tooltip";
import { useLogout } from "@/components/use-logout";
import { cn } from "@/lib/cn";
import { goTo, goToAssistant } from "@/lib/navigate";
import { loadSessions } from "@/lib/rooms";
import { useAuth } from "@/stores/auth";
import { inOrder, useChat } from "@/stores/chat";
import { openDialog, setTheme, useUi } from "@/stores/ui";
import { AssistantList } from "./assistant-list";
import { SessionItem } from "./session-item";
import { OwnStatusItems } from "./own-status";

/** All conversations, the last active first, and the caller's own corner. */
export function SessionList({ isAssistant }: { isAssistant: boolean }) {
  const hasAssistant = useAuth((auth) => auth.config?.features.ai ?? false);
  const sessions = useChat((chat) => chat.sessions);
  const { isListed, listFailure, openId } = useChat();
  const ordered = useMemo(() => inOrder(sessions), [sessions]);

  useEffect(() => {
    const step = (event: KeyboardEvent): void => {
      if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
      event.preventDefault();
      const place = ordered.findIndex((each) => each.id === openId);
      const next = ordered[place + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) goTo(next.id);
    };
    window.addEventListener("keydown", step);
    return () => window.removeEventListener("keydown", step);
  }, [ordered, openId]);

  return (
    <nav aria-label="Conversations" className="flex h-full flex-col">
      <h1 className="sr-only md:hidden">Conversations</h1>
      <div className="flex items-center gap-1 px-4 pt-3 pb-2">
        <div className="flex-1">
          <Logo size={26} />
        </div>
        <Tooltip label="Search messages" side="bottom">
          <Button look="ghost" size="icon" onClick={() => openDialog("search")}>
            <Search size={18} aria-hidden />
          </Button>
        </Tooltip>
        <Tooltip label="New conversation" side="bottom">
          <Button look="ghost" size="icon" onClick={() => openDialog("new")}>
            <MessageSquarePlus size={18} aria-hidden />
          </Button>
        </Tooltip>
      </div>
      {hasAssistant ? <Tabs isAssistant={isAssistant} /> : null}
      <div className="min-h-0 flex-1 overflow-y-auto px-2 py-1">
        {isAssistant ? <AssistantList /> : null}
        {listFailure && !isAssistant ? (
          <div role="alert" className="space-y-2 p-4 text-sm text-soft">
            <p>{listFailure}</p>
            <Button look="outline" size="sm" onClick={() => void loadSessions()}>
              Try again
            </Button>
          </div>
        ) : null}
        {!isListed && !listFailure && !isAssistant ? <Skeleton /> : null}
        {isListed && ordered.length === 0 && !isAssistant ? (
          <p className="p-4 text-sm text-soft">No conversations yet. Begin one with the button above.</p>
        ) : null}
        {isAssistant ? null : (
          <ul>
            {ordered.map((session) => (
              <SessionItem key={session.id} session={session} isOpen={session.id === openId} />
            ))}
          </ul>
        )}
      </div>
      <OwnCorner />
    </nav>
  );
}

function Tabs({ isAssistant }: { isAssistant: boolean }) {
  const tab = (label: string, isOpen: boolean, go: () => void) => (
    <button
      type="button"
      aria-pressed={isOpen}
      onClick={go}
      className={cn("flex-1 rounded-lg py-1.5 text-sm font-medium", isOpen ? "bg-raised shadow-sm" : "text-soft hover:text-ink")}
    >
      {label}
    </button>
  );
  return (
    <div role="group" aria-label="What to show" className="mx-3 mb-1 flex gap-1 rounded-xl bg-line/60 p-1">
      {tab("Chats", !isAssistant, () => goTo(null))}
      {tab("Assistant", isAssistant, () => goToAssistant(null))}
    </div>
  );
}

function Skeleton() {
  return (
    <div role="status" className="space-y-2 p-2">
      <span className="sr-only">Loading conversations</span>
      {[0, 1, 2, 3].map((each) => (
        <div key={each} aria-hidden className="h-14 animate-pulse rounded-xl bg-line/60" />
      ))}
    </div>
  );
}

function OwnCorner() {
  const account = useAuth((auth) => auth.account);
  const isDark = useUi((ui) => ui.isDark);
  const router = useRouter();
  const { leave, question } = useLogout();
  if (!account) return null;
  const trigger = (
    <button type="button" className="flex min-w-0 flex-1 items-center gap-3 rounded-xl p-1.5 text-left hover:bg-line/60">
      <Avatar name={account.name} url={account.avatarUrl} color={account.avatarColor} size="sm" />
      <span className="min-w-0 flex-1">
        <span className="block truncate text-sm font-medium">{account.name}</span>
        <span className="block truncate text-xs text-soft">{account.email}</span>
      </span>
    </button>
  );
  return (
    <div className="flex items-center gap-1 border-t px-2 py-2">
      <Menu trigger={trigger} side="top" align="start">
        <OwnStatusItems />
        <MenuLine />
        <MenuItem icon={<Settings size={16} aria-hidden />} onSelect={() => router.push("/settings/")}>
          Settings
        </MenuItem>
        <MenuItem icon={<HelpCircle size={16} aria-hidden />} onSelect={() => openDialog("help")}>
          Keyboard shortcuts
        </MenuItem>
        <MenuLine />
        <MenuItem icon={<LogOut size={16} aria-hidden />} onSelect={leave}>
          Log out
        </MenuItem>
      </Menu>
      <Tooltip label={isDark ? "Light theme" : "Dark theme"}>
        <Button look="ghost" size="icon" onClick={() => setTheme(isDark ? "light" : "dark")}>
          {isDark ? <Sun size={18} aria-hidden /> : <Moon size={18} aria-hidden />}
        </Button>
      </Tooltip>
      {question}
    </div>
  );
}
