-- Finds the events of some days without reading their whole week. They lie nearly in the order of their times, so this takes a
-- few bytes for every hundred pages, and next to nothing to keep.
create index events_by_time on events using brin (occurred_at) with (autosummarize = on);
