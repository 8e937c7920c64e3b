"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";
import { Waiting } from "@/components/auth/guard";
import { useAuth } from "@/stores/auth";

/** The root: goes to the chat, or to the login. */
export function Home() {
  const state = useAuth((auth) => auth.state);
  const router = useRouter();
  useEffect(() => {
    if (state === "in") router.replace("/chat/");
    if (state === "out") router.replace("/login/");
  }, [state, router]);
  return <Waiting />;
}
