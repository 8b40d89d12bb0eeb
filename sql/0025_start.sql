-- Where every database of weir starts: what both editions of TimescaleDB share. The edition's own part follows in its
-- folder, and later migrations after both. What all of them together make is in `schema/`, for each edition.
--
-- `comment on` says what a table or column means, so that the database knows it, too: `\d+ events` in psql.
-- The schema is exactly the one that 24 earlier migrations made, so that their databases go on from here. It has the
-- order of their columns for that reason.
--
--   Projects   projects, api_keys, event_types
--   Users      users, user_aliases, user_names, user_merges, deleted_users, user_deletions
--   Events     events, contested_ids, unfiltered_projects
--   Activity   activity, merge_deltas, merge_bits
--   Values     promoted_properties, property_values, former_values, told_value
--   Time       time_zones, recounts
--   Stream     streams, settled_messages
--   Writers    upkeep, agree, wait_for_writers

-- timescaledb is there already: `weir migrate` creates it first, because its setting names the edition.
create extension if not exists roaringbitmap;

-- Projects ------------------------------------------------------------------------------------------------------------

create table projects (
    project_id      int         generated always as identity primary key,
    name            text        unique check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    timezone        text        not null default 'UTC',
    week_start      smallint    not null default 1 check (week_start between 1 and 7),
    last_user_no    int         not null default 0,
    created_at      timestamptz not null default now(),
    rate_limit      int         check (rate_limit > 0),
    rate_burst      int         check (rate_burst > 0),
    max_event_types int         check (max_event_types > 0),
    allowed_origins text[],
    last_value_no   int         not null default 0,
    deleted_at      timestamptz,
    removed_at      timestamptz,
    constraint projects_named check (name is not null or deleted_at is not null)
);
create index projects_deleted on projects (project_id) where deleted_at is not null;
comment on table projects is
    'The tenants: what belongs to a project has its project_id. The row of a deleted project goes last.';
comment on column projects.name is 'Null once the project is deleted: the name is free again.';
comment on column projects.timezone is 'A name of the IANA database. Its rules are in time_zones.';
comment on column projects.week_start is 'The first day of a week, as in ISO 8601: 1 is Monday.';
comment on column projects.last_user_no is 'The user_no that was given last.';
comment on column projects.rate_limit is 'Events per second in the long run. Null: as configured.';
comment on column projects.rate_burst is 'Events at once after a rest. Null: as configured.';
comment on column projects.max_event_types is 'The most event types. Null: as configured.';
comment on column projects.allowed_origins is 'Of the web pages that may call; *: all. Null: as configured.';
comment on column projects.last_value_no is 'The value_no that was given last.';
comment on column projects.deleted_at is 'Events that wait in the stream at that time are dropped.';
comment on column projects.removed_at is 'When all else of the deleted project was gone.';

create table api_keys (
    key_id     int         generated always as identity primary key,
    project_id int         not null references projects,
    kind       text        not null check (kind in ('write', 'read', 'admin')),
    key_hash   bytea       not null unique,
    hint       text        not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
comment on table api_keys is 'The keys of projects.';
comment on column api_keys.key_hash is 'SHA-256. Keys are random, so a slow hash would add nothing.';
comment on column api_keys.hint is 'The first characters of the key, to tell keys apart in a list.';

create table event_types (
    project_id int         not null references projects,
    event_type text        not null collate "C",
    created_at timestamptz not null default now(),
    primary key (project_id, event_type)
);
comment on table event_types is
    'The event types of projects. Their number is bounded, because each adds rows to the activity of every hour.';

-- Users ---------------------------------------------------------------------------------------------------------------

create table users (
    project_id int         not null,
    user_no    int         not null,
    user_id    text        not null collate "C",
    since      timestamptz,
    primary key (project_id, user_no),
    unique (project_id, user_id)
);
comment on table users is
    'The dictionary of users: each gets a number at first sight. Dense numbers make small bitmaps.';
comment on column users.since is
    'Somebody else had this user_id and was deleted at that time: what was received until then is not stored.';

create table user_aliases (
    project_id int         not null,
    user_id    text        not null collate "C",
    user_no    int         not null,
    since      timestamptz,
    primary key (project_id, user_id),
    foreign key (project_id, user_no) references users on delete cascade
);
create index aliases_of_user on user_aliases (project_id, user_no);
comment on table user_aliases is 'Further names of users. A name is here or in users, never in both.';
comment on column user_aliases.since is 'As in users.';

create view user_names as
select project_id, user_id, user_no, since from users
union all
select project_id, user_id, user_no, since from user_aliases;
comment on view user_names is 'Every name, and the user who has it.';

create table user_merges (
    project_id   int         not null references projects,
    from_no      int         not null,
    into_no      int         not null,
    requested_at timestamptz not null,
    primary key (project_id, from_no)
);
create index merges_into_user on user_merges (project_id, into_no);
comment on table user_merges is
    'Merged users whose events and bits are not all moved yet. A row goes when nothing of from_no is left.';
comment on column user_merges.from_no is 'A user without a name.';
comment on column user_merges.into_no is
    'Never a from_no: when this user is merged, too, the row gets the new user.';

create table deleted_users (
    project_id int         not null references projects,
    user_hash  bytea       not null,
    deleted_at timestamptz not null,
    primary key (project_id, user_hash)
);
comment on table deleted_users is
    'Users who were deleted, for as long as events of theirs can be in a stream. What was received until deleted_at is '
    'not stored. Whoever comes with that id later is a new user.';
comment on column deleted_users.user_hash is 'SHA-256 of project and user_id.';

create table user_deletions (
    project_id int         not null references projects,
    user_no    int         not null,
    deleted_at timestamptz not null,
    primary key (project_id, user_no)
);
comment on table user_deletions is
    'Deleted users whose events and bits are not all removed yet. A row goes when nothing is left.';

-- Events --------------------------------------------------------------------------------------------------------------

-- The columns are in the order that wastes no byte on alignment.
create table events (
    occurred_at timestamptz not null,
    received_at timestamptz not null,
    project_id  int         not null,
    user_no     int,
    event_id    uuid        not null,
    event_type  text        not null collate "C",
    properties  jsonb       not null
);
select create_hypertable('events', by_range('occurred_at', interval '7 days'), create_default_indexes => false);
-- The last word on duplicates. The unique index of a hypertable must have its time column, so for copies with another
-- time writers look when they have reason to.
create unique index events_identity on events (project_id, event_id, occurred_at);
create index events_of_user on events (project_id, user_no, occurred_at desc, event_id desc);
-- Finds the events of some days without reading their whole week. They are stored nearly in the order of their times,
-- so it takes a few bytes for every hundred pages, and costs next to nothing to keep.
create index events_by_time on events using brin (occurred_at) with (autosummarize = on);
comment on table events is 'Every event, once.';
comment on column events.occurred_at is 'When it happened, by the clock of the sender.';
comment on column events.received_at is 'When the API took it.';
comment on column events.user_no is 'Null: an event of no user.';

create table contested_ids (
    project_id  int         not null references projects on delete cascade,
    event_id    uuid        not null,
    received_at timestamptz not null,
    primary key (project_id, event_id)
);
comment on table contested_ids is
    'Ids that several requests sent at the same time, for as long as another copy can be in the stream: writers look '
    'for copies of them.';

create table unfiltered_projects (
    project_id int         primary key references projects on delete cascade,
    until      timestamptz not null
);
comment on table unfiltered_projects is
    'Projects some of whose events came without deduplication in Redis: writers look for copies of their events.';
comment on column unfiltered_projects.until is 'Of events that are received later, Redis knows all copies.';

-- Activity ------------------------------------------------------------------------------------------------------------

create table activity (
    local_hour timestamp     not null,
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null,
    written_at timestamptz   not null default now(),
    value_no   int           not null default 0
);
select create_hypertable('activity', by_range('local_hour', interval '7 days'), create_default_indexes => false);
-- In this order it serves one type and one value, and those of all alike.
create index activity_of_series on activity (project_id, event_type, value_no, local_hour);
comment on table activity is
    'Who did what in which hour: deltas, each written in the transaction that stored its events. They can be merged in '
    'any order, so late events cost no more than early ones. Read activity_hourly and activity_daily instead.';
comment on column activity.local_hour is 'By the wall clock of the project, so that its days are whole.';
comment on column activity.events is 'How many events.';
comment on column activity.event_type is 'Empty, as no event''s type is: of all types together.';
comment on column activity.users is 'The user_no of each user who had one of them.';
comment on column activity.value_no is 'Of property_values. 0: whatever values the events have.';

create procedure merge_deltas(since timestamp) language sql as $$
    with many as (
        select project_id, event_type, value_no, local_hour
        from activity
        where local_hour >= since
        group by project_id, event_type, value_no, local_hour
        having count(*) >= 64 or count(*) > 1 and max(written_at) < now() - interval '1 minute'
    ), merging as (
        delete from activity using many
        where activity.project_id = many.project_id
          and activity.event_type = many.event_type
          and activity.value_no = many.value_no
          and activity.local_hour = many.local_hour
        returning activity.*
    )
    insert into activity (project_id, event_type, value_no, local_hour, users, events)
    select project_id, event_type, value_no, local_hour, rb_or_agg(users), sum(events)
    from merging
    group by project_id, event_type, value_no, local_hour
$$;
comment on procedure merge_deltas(timestamp) is
    'Merges the deltas of an hour in place: when they are many enough to slow readers down, and when the hour is '
    'quiet, which most are for good. One caller at a time.';

create function merge_bits(users roaringbitmap, gone roaringbitmap, from_nos int[], into_nos int[]) returns roaringbitmap
stable language sql as $$
    select rb_or(rb_andnot(users, gone), rb_build_agg(into_nos[width_bucket(from_no, from_nos)]))
    from unnest(rb_to_array(rb_and(users, gone))) as there (from_no)
$$;
comment on function merge_bits(roaringbitmap, roaringbitmap, int[], int[]) is
    'A bitmap in which each of from_nos is replaced by the one at its place in into_nos. from_nos ascend, so that a '
    'binary search finds one; gone is their bitmap.';

-- Values of promoted properties ---------------------------------------------------------------------------------------

create table promoted_properties (
    project_id  int         not null references projects,
    property    text        not null collate "C",
    promoted_at timestamptz not null default now(),
    first_day   date,
    last_day    date,
    rebuilt_to  date,
    ready_at    timestamptz,
    stopped     text,
    primary key (project_id, property)
);
comment on table promoted_properties is
    'Properties whose values activity knows, too. History is rebuilt from the events, one day of the project after the '
    'other.';
comment on column promoted_properties.first_day is 'The first day to rebuild. Null: not begun.';
comment on column promoted_properties.ready_at is 'From then on questions are answered from activity.';
comment on column promoted_properties.stopped is 'Why activity does not know it any more.';

create table property_values (
    project_id int  not null references projects,
    value_no   int  not null,
    property   text not null collate "C",
    value      text not null collate "C",
    primary key (project_id, value_no),
    unique (project_id, property, value)
);
comment on table property_values is
    'The values of promoted properties that are not stopped. A number is given once, and never to another value.';
comment on column property_values.value is
    'As jsonb writes it, and null for events without the property. 1 and 1.0 are two rows, but one value to whoever '
    'asks: told_value makes them the same text.';

create table former_values (
    project_id int not null references projects,
    value_no   int not null,
    primary key (project_id, value_no)
);
comment on table former_values is
    'Values that activity may still have rows of, though no question is about them any more.';

create function told_value(value jsonb) returns text[] language plpgsql immutable parallel safe as $$
declare
    told text;
begin
    case jsonb_typeof(value)
        when 'array', 'object' then return '{}';
        when 'number' then told := trim_scale(value::numeric)::text;
        else told := value #>> '{}';  -- of nothing, and of JSON's null, it is null
    end case;
    return case when octet_length(told) > 200 then '{}' when told is not null then array[told] end;
end
$$;
comment on function told_value(jsonb) is
    'A value as a breakdown reports it. One element: a text, a number or a truth value; 10 and 10.0 are one number. '
    'Empty: it is reported with the rest, as lists, objects and texts of more than 200 bytes are. Null: there is none.';

-- Time zones ----------------------------------------------------------------------------------------------------------

create table time_zones (
    name    text  primary key collate "C",
    version text  not null collate "C",
    rules   bytea not null
);
comment on table time_zones is
    'The rules by which days of projects are counted: the same for all processes, on whatever machine they run.';
comment on column time_zones.version is 'A release of the IANA database, such as 2026f.';
comment on column time_zones.rules is 'TZif (RFC 9636).';

create table recounts (
    project_id   int  not null references projects on delete cascade,
    first_day    date not null,
    last_day     date not null,
    recounted_to date,
    primary key (project_id, first_day)
);
comment on table recounts is
    'Days to count again from the events, because the rules of their project''s time zone have changed.';

-- The stream ----------------------------------------------------------------------------------------------------------

create table streams (
    created       timestamptz primary key,
    last_sequence bigint      not null,
    seen_at       timestamptz not null,
    acknowledged  bigint      not null default 0
);
comment on table streams is
    'The streams that messages came from, so that a loss is known when the stream is gone.';
comment on column streams.created is 'What identifies a stream.';
comment on column streams.last_sequence is 'The number of the newest message that it is known to have had.';
comment on column streams.acknowledged is 'How many missing messages an operator knows of.';

create table settled_messages (
    stream    timestamptz    not null,
    sequences int8multirange not null
);
comment on table settled_messages is
    'The numbers of the messages that are settled, written in the transaction that stored their events: what left the '
    'stream and is not here is lost. A worker merges the rows.';
comment on column settled_messages.stream is 'When the stream was created. Each stream counts from 1.';

-- Writers -------------------------------------------------------------------------------------------------------------

create table upkeep (
    only_row              boolean     primary key default true check (only_row),
    users_generation      bigint      not null default 0,
    events_from           timestamptz,
    promotions_generation bigint      not null default 0
);
insert into upkeep default values;
comment on table upkeep is 'The terms that writers agree on before they commit: see agree.';
comment on column upkeep.users_generation is
    'Grows when users are deleted or merged: writers look up user numbers again.';
comment on column upkeep.events_from is 'Earlier events were dropped, and are not stored again.';
comment on column upkeep.promotions_generation is
    'Grows when what is promoted changes, or the rules of a time zone: writers look both up again.';

-- A new name for a function that writers call stops workers of an earlier version: they leave their messages to others.
-- Give it one when what it returns changes and they would store something wrong.
create function agree(lanes int[], alone boolean)
returns table (users_generation bigint, promotions_generation bigint, events_from timestamptz, deleted_projects int[])
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('weir.write'));
    if alone then
        perform pg_advisory_xact_lock(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    else
        perform pg_advisory_xact_lock_shared(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    end if;
    -- A statement of its own: it sees what was committed while this waited.
    return query
        select upkeep.users_generation, upkeep.promotions_generation, upkeep.events_from,
               array(select project_id from projects where deleted_at is not null)
        from upkeep;
end
$$;
comment on function agree(int[], boolean) is
    'The terms of a writer''s transaction. They hold until it ends: whoever changes them waits for it with '
    'wait_for_writers. A writer that must look for copies goes alone in its lanes, and sees all that others stored.';

create function wait_for_writers() returns void language sql as $$
    select pg_advisory_xact_lock(hashtext('weir.write'))
$$;
comment on function wait_for_writers() is
    'Waits for the writers that may have agreed on former terms. Others wait until the caller''s transaction ends.';
