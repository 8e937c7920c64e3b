-- Several daemons on one database.

-- The daemon that makes an answer, by its tag; NULL: the only one.
ALTER TABLE ai_messages ADD COLUMN node text;
