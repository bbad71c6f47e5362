import { bigserial, bigint, customType, pgTable, text } from "drizzle-orm/pg-core";

const counter = customType<{ data: string }>({ dataType() { return 'counter' } });

export const posts = pgTable("posts", {
  id: bigserial("id", { mode: "number" }).primaryKey(),
  title: text("title"),
  views: counter("views"),
});

export const comments = pgTable("comments", {
  id: bigserial("id", { mode: "number" }).primaryKey(),
  post_id: bigint("post_id", { mode: "number" }).notNull().references(() => posts.id),
  body: text("body"),
});
