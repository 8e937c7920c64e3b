"use client";

import { zodResolver } from "@hookform/resolvers/zod";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import { useForm } from "react-hook-form";
import { Logo } from "@/components/logo";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { Form } from "@/components/ui/form";
import { explain, toApiError } from "@/lib/errors";
import { nextPage } from "@/lib/next";
import { loginSchema, signupSchema, type LoginForm, type SignupForm } from "@/lib/schemas";
import { login, proveLogin, register, useAuth } from "@/stores/auth";
import { GoogleButton } from "./google-button";

const WORDS = {
  login: { title: "Welcome back", button: "Log in", other: "New here?", link: "Create an account", href: "/signup/" },
  signup: { title: "Create your account", button: "Sign up", other: "Have an account?", link: "Log in", href: "/login/" },
};

/** Log in or sign up; afterwards the page that was asked for. */
export function AuthForm({ kind }: { kind: "login" | "signup" }) {
  const words = WORDS[kind];
  const { state, notice } = useAuth();
  const router = useRouter();
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    if (state === "in") router.replace(nextPage(window.location.search));
  }, [state, router]);

  return (
    <main className="grid min-h-dvh place-items-center bg-panel p-4">
      <div className="w-full max-w-sm space-y-6 rounded-2xl border bg-raised p-7 shadow-sm">
        <div className="space-y-4">
          <Logo />
          <h1 className="text-2xl font-semibold tracking-tight">{words.title}</h1>
        </div>
        {notice && !failure ? <p role="status" className="rounded-lg bg-warn-soft px-3 py-2 text-sm text-warn-ink">{notice}</p> : null}
        {failure ? <p role="alert" className="rounded-lg bg-danger-soft px-3 py-2 text-sm text-danger">{failure}</p> : null}
        {kind === "login" ? <LoginFields onFailure={setFailure} /> : <SignupFields onFailure={setFailure} />}
        <GoogleButton />
        <p className="text-center text-sm text-soft">
          {words.other}{" "}
          <Link href={words.href} className="font-medium text-accent underline-offset-4 hover:underline">
            {words.link}
          </Link>
        </p>
      </div>
    </main>
  );
}

interface FieldsProps {
  onFailure: (failure: string | null) => void;
}

function LoginFields({ onFailure }: FieldsProps) {
  const [challenge, setChallenge] = useState<string | null>(null);
  const hasMail = useAuth((auth) => auth.config?.features.mail ?? false);
  const form = useForm<LoginForm>({ resolver: zodResolver(loginSchema), defaultValues: { email: "", password: "" } });
  const { errors, isSubmitting } = form.formState;
  const submit = form.handleSubmit(async ({ email, password }) => {
    onFailure(null);
    try {
      await login(email, password);
    } catch (trouble) {
      const error = toApiError(trouble);
      const asked = error.details["challenge"];
      if (error.code === "second_factor_required" && typeof asked === "string") {
        setChallenge(asked);
        return;
      }
      const isWrong = error.code === "unauthorized";
      onFailure(isWrong ? "That address and password do not fit." : explain(trouble));
      form.setFocus("password");
    }
  });
  if (challenge) return <SecondFactor challenge={challenge} onFailure={onFailure} onOver={() => setChallenge(null)} />;
  return (
    <Form onSubmit={submit}>
      <Field label="E-mail" type="email" autoComplete="username" autoFocus error={errors.email?.message} {...form.register("email")} />
      <Field label="Password" type="password" autoComplete="current-password" error={errors.password?.message} {...form.register("password")} />
      <Button type="submit" className="w-full" disabled={isSubmitting}>
        {isSubmitting ? "One moment…" : WORDS.login.button}
      </Button>
      {hasMail ? (
        <p className="text-center text-sm">
          <Link href="/auth/forgot/" className="text-soft underline-offset-4 hover:underline">
            Forgot your password?
          </Link>
        </p>
      ) : null}
    </Form>
  );
}

interface SecondFactorProps extends FieldsProps {
  challenge: string;
  onOver: () => void;
}

function SecondFactor({ challenge, onFailure, onOver }: SecondFactorProps) {
  const [proof, setProof] = useState("");
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    onFailure(null);
    try {
      await proveLogin(challenge, proof);
    } catch (trouble) {
      const error = toApiError(trouble);
      onFailure(error.code === "unauthorized" ? error.message : explain(error));
      if (error.code === "unauthorized" && error.details["triesLeft"] === undefined) onOver();
    }
  };
  return (
    <Form onSubmit={(event) => void submit(event)}>
      <Field
        label="Code"
        hint="From your authenticator, or one of your recovery codes."
        inputMode="numeric"
        autoComplete="one-time-code"
        autoFocus
        value={proof}
        onChange={(event) => setProof(event.target.value)}
      />
      <Button type="submit" className="w-full" disabled={!proof.trim()}>
        Go on
      </Button>
      <Button look="ghost" className="w-full" onClick={onOver}>
        Back
      </Button>
    </Form>
  );
}

function SignupFields({ onFailure }: FieldsProps) {
  const form = useForm<SignupForm>({
    resolver: zodResolver(signupSchema),
    defaultValues: { name: "", email: "", password: "" },
  });
  const { errors, isSubmitting } = form.formState;
  const submit = form.handleSubmit(async ({ name, email, password }) => {
    onFailure(null);
    try {
      await register(email, password, name);
    } catch (trouble) {
      const error = toApiError(trouble);
      for (const key of ["name", "email", "password"] as const) {
        const message = error.fields[key];
        if (message) form.setError(key, { message });
      }
      if (error.code === "conflict") form.setError("email", { message: "This address has an account already." });
      else if (Object.keys(error.fields).length === 0) onFailure(explain(error));
    }
  });
  return (
    <Form onSubmit={submit}>
      <Field label="Name" autoComplete="name" autoFocus error={errors.name?.message} {...form.register("name")} />
      <Field label="E-mail" type="email" autoComplete="username" error={errors.email?.message} {...form.register("email")} />
      <Field
        label="Password"
        type="password"
        autoComplete="new-password"
        hint="At least 8 characters."
        error={errors.password?.message}
        {...form.register("password")}
      />
      <Button type="submit" className="w-full" disabled={isSubmitting}>
        {isSubmitting ? "One moment…" : WORDS.signup.button}
      </Button>
    </Form>
  );
}
