-- What a project may be at most, where that differs from the configuration; null: as configured.
alter table projects
    add column rate_limit      int    check (rate_limit > 0),       -- events a second, in the long run
    add column rate_burst      int    check (rate_burst > 0),       -- events at once, after a rest
    add column max_event_types int    check (max_event_types > 0),
    add column allowed_origins text[];                              -- of web pages; '*': any

-- The event types of a project: their number is bounded, since each is rows of activity for every hour.
create table event_types (
    project_id int         not null references projects,
    event_type text        not null collate "C",
    created_at timestamptz not null default now(),
    primary key (project_id, event_type)
);
insert into event_types (project_id, event_type)
select distinct project_id, event_type from activity_daily where project_id in (select project_id from projects);
