/** What forms take. The server judges; this only tells sooner. */
import * as z from "zod/mini";

z.config({ jitless: true }); // no code from strings: the page's policy forbids it

export const loginSchema = z.object({
  email: z.string().check(z.trim(), z.email("Enter your e-mail address.")),
  password: z.string().check(z.minLength(1, "Enter your password.")),
});

export const signupSchema = z.object({
  name: z.string().check(z.trim(), z.minLength(1, "Enter your name."), z.maxLength(80, "At most 80 characters.")),
  email: z.string().check(z.trim(), z.email("Enter your e-mail address.")),
  password: z.string().check(z.minLength(8, "At least 8 characters."), z.maxLength(256, "At most 256 characters.")),
});

export const sessionSchema = z.object({
  name: z.string().check(z.trim(), z.minLength(1, "Enter a name."), z.maxLength(100, "At most 100 characters.")),
});

export type LoginForm = z.infer<typeof loginSchema>;
export type SignupForm = z.infer<typeof signupSchema>;
