/** The wire's shapes, made from chatd's own documents (`make types`). */
export type * from "../../chatd";
