"use client";

import { CSPProvider } from "@base-ui/react/csp-provider";
import { useEffect, type ReactNode } from "react";
import { Toasts } from "@/components/ui/toast";
import { TooltipProvider } from "@/components/ui/tooltip";
import { followTabs, startAuth } from "@/stores/auth";
import { startTheme } from "@/stores/ui";

/** What every page needs: the theme, the server's features, who is logged in. */
export function Providers({ children }: { children: ReactNode }) {
  useEffect(() => {
    const stopTheme = startTheme();
    const stopTabs = followTabs();
    void startAuth();
    return () => {
      stopTheme();
      stopTabs();
    };
  }, []);
  return (
    <CSPProvider disableStyleElements>
      <TooltipProvider delay={400}>
        {children}
        <Toasts />
      </TooltipProvider>
    </CSPProvider>
  );
}
