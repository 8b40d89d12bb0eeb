-- What both editions of TimescaleDB share: the tables that weir writes. The extension timescaledb is there already:
-- its setting tells the edition.
create extension if not exists roaringbitmap;

-- A project is the tenant: every row below belongs to one.
create table projects (
    project_id   int         generated always as identity primary key,
    name         text        not null unique check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    timezone     text        not null default 'UTC',  -- an IANA name; its rules are Rust's, never the database's
    week_start   smallint    not null default 1 check (week_start between 1 and 7),  -- ISO: 1 is Monday
    last_user_no int         not null default 0,
    created_at   timestamptz not null default now()
);

create table api_keys (
    key_id     int         generated always as identity primary key,
    project_id int         not null references projects,
    kind       text        not null check (kind in ('write', 'read', 'admin')),
    key_hash   bytea       not null unique,  -- SHA-256; keys are random, so a slow hash would add nothing
    hint       text        not null,         -- the key's first characters, to tell keys apart in a list
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);

-- The dictionary: dense numbers, given on first sight, make small bitmaps.
create table users (
    project_id int  not null,
    user_no    int  not null,
    user_id    text not null collate "C",
    primary key (project_id, user_no),
    unique (project_id, user_id)
);

-- Every event, once. The columns stand in the order that wastes no byte on alignment.
create table events (
    occurred_at timestamptz not null,
    received_at timestamptz not null,
    project_id  int         not null,
    user_no     int,                             -- null: an event of no user
    event_id    uuid        not null,
    event_type  text        not null collate "C",
    properties  jsonb       not null
);
select create_hypertable('events', by_range('occurred_at', interval '7 days'), create_default_indexes => false);
-- The last word on duplicates. A hypertable's unique index must hold its time column.
create unique index events_identity on events (project_id, event_id, occurred_at);
create index events_of_user on events (project_id, user_no, occurred_at desc, event_id desc);

-- Who did what in which hour: deltas, each written in the transaction that stored its events. They merge in any
-- order, so whatever sums them up may do so whenever it likes.
create table activity (
    local_hour timestamp     not null,            -- the wall clock of the project's time zone
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null             -- of user_no
);
select create_hypertable('activity', by_range('local_hour', interval '7 days'), create_default_indexes => false);
create index activity_of_project on activity (project_id, local_hour);
