-- The schema of weir on the community edition of TimescaleDB, as the migrations in sql/ make it.
-- Made by scripts/schema, and compared with them by a test: change it with a migration.

CREATE FUNCTION agree(lanes integer[], alone boolean) RETURNS TABLE(users_generation bigint, promotions_generation bigint, events_from timestamp with time zone, deleted_projects integer[])
    LANGUAGE plpgsql
    AS $$
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
COMMENT ON FUNCTION agree(lanes integer[], alone boolean) IS 'The terms of a writer''s transaction. They hold until it ends: whoever changes them waits for it with wait_for_writers. A writer that must look for copies goes alone in its lanes, and sees all that others stored.';

CREATE FUNCTION merge_bits(users roaringbitmap, gone roaringbitmap, from_nos integer[], into_nos integer[]) RETURNS roaringbitmap
    LANGUAGE sql STABLE
    AS $$
    select rb_or(rb_andnot(users, gone), rb_build_agg(into_nos[width_bucket(from_no, from_nos)]))
    from unnest(rb_to_array(rb_and(users, gone))) as there (from_no)
$$;
COMMENT ON FUNCTION merge_bits(users roaringbitmap, gone roaringbitmap, from_nos integer[], into_nos integer[]) IS 'A bitmap in which each of from_nos is replaced by the one at its place in into_nos. from_nos ascend, so that a binary search finds one; gone is their bitmap.';

CREATE PROCEDURE merge_deltas(IN since timestamp without time zone)
    LANGUAGE sql
    AS $$
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
COMMENT ON PROCEDURE merge_deltas(IN since timestamp without time zone) IS 'Merges the deltas of an hour in place: when they are many enough to slow readers down, and when the hour is quiet, which most are for good. One caller at a time.';

CREATE PROCEDURE merge_users(IN of_project integer, IN from_nos integer[], IN into_nos integer[])
    LANGUAGE plpgsql
    AS $$
declare
    gone  roaringbitmap := rb_build(from_nos);
    hours timestamp[];
begin
    -- Whoever is in a bitmap of an hour is in that of all types and all values, too. The aggregates may lack what is not
    -- refreshed yet.
    hours := array(
        select distinct local_hour from activity
        where project_id = of_project and event_type = '' and value_no = 0 and users && gone
    );
    update activity set users = merge_bits(users, gone, from_nos, into_nos)
    where project_id = of_project and local_hour = any(hours) and users && gone;
end
$$;
COMMENT ON PROCEDURE merge_users(IN of_project integer, IN from_nos integer[], IN into_nos integer[]) IS 'Replaces users in every bitmap of a project. from_nos ascend, as merge_bits asks for.';

CREATE PROCEDURE remove_activity(IN of_project integer)
    LANGUAGE plpgsql
    AS $$
begin
    delete from activity where project_id = of_project;
end
$$;
COMMENT ON PROCEDURE remove_activity(IN of_project integer) IS 'Removes all activity of a project.';

CREATE PROCEDURE remove_day(IN of_project integer, IN day timestamp without time zone)
    LANGUAGE plpgsql
    AS $$
begin
    delete from activity where project_id = of_project and local_hour >= day and local_hour < day + interval '1 day';
end
$$;
COMMENT ON PROCEDURE remove_day(IN of_project integer, IN day timestamp without time zone) IS 'Removes the rows of a day.';

CREATE PROCEDURE remove_users(IN of_project integer, IN gone roaringbitmap)
    LANGUAGE plpgsql
    AS $$
begin
    update activity set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
end
$$;
COMMENT ON PROCEDURE remove_users(IN of_project integer, IN gone roaringbitmap) IS 'Takes users out of every bitmap of a project.';

CREATE PROCEDURE remove_values(IN of_project integer, IN gone integer[], IN day timestamp without time zone)
    LANGUAGE plpgsql
    AS $$
begin
    delete from activity
    where project_id = of_project and value_no = any(gone)
      and (day is null or local_hour >= day and local_hour < day + interval '1 day');
end
$$;
COMMENT ON PROCEDURE remove_values(IN of_project integer, IN gone integer[], IN day timestamp without time zone) IS 'Removes the rows of values: those of one day, or all if day is null.';

CREATE PROCEDURE roll_up(IN horizon timestamp without time zone)
    LANGUAGE plpgsql
    AS $$
begin
    call merge_deltas(horizon);
    commit;
    -- In one pass: newer versions would refresh the latest buckets first and move the watermark with them, and what
    -- lies before would be invisible until its turn. Older versions know no options and have always one pass.
    if exists (select from pg_proc where proname = 'refresh_continuous_aggregate' and 'options' = any(proargnames)) then
        call refresh_continuous_aggregate('activity_hourly', null, horizon, options => '{"buckets_per_batch": 0}');
        call refresh_continuous_aggregate('activity_daily', null, horizon, options => '{"buckets_per_batch": 0}');
    else
        call refresh_continuous_aggregate('activity_hourly', null, horizon);
        call refresh_continuous_aggregate('activity_daily', null, horizon);
    end if;
end
$$;
COMMENT ON PROCEDURE roll_up(IN horizon timestamp without time zone) IS 'Refreshes what changed before horizon: a row that arrives below the watermark is invisible until then. Later hours stay deltas, which merge in place.';

CREATE FUNCTION told_value(value jsonb) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
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
COMMENT ON FUNCTION told_value(value jsonb) IS 'A value as a breakdown reports it. One element: a text, a number or a truth value; 10 and 10.0 are one number. Empty: it is reported with the rest, as lists, objects and texts of more than 200 bytes are. Null: there is none.';

CREATE TABLE user_traits (
    project_id integer NOT NULL,
    user_no integer NOT NULL,
    name text NOT NULL COLLATE "C",
    value jsonb NOT NULL,
    set_at timestamp with time zone NOT NULL,
    is_initial boolean NOT NULL
);
COMMENT ON TABLE user_traits IS 'What is known of users. Of everything that was said of a trait, the row that wins is kept: see trait_wins.';
COMMENT ON COLUMN user_traits.value IS 'JSON''s null: the trait was taken back.';
COMMENT ON COLUMN user_traits.set_at IS 'When the event happened that said so.';
COMMENT ON COLUMN user_traits.is_initial IS 'The first value counts, and any value that is not initial counts more.';

CREATE FUNCTION trait_wins(new user_traits, old user_traits) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select case
        when new.is_initial <> old.is_initial then old.is_initial
        when new.set_at <> old.set_at then (new.set_at < old.set_at) = new.is_initial
        else new.value::text collate "C" > old.value::text collate "C"
    end
$$;
COMMENT ON FUNCTION trait_wins(new user_traits, old user_traits) IS 'Which of two values of a trait is kept. It is an order of all values, so it does not matter in which order they come, nor how often.';

CREATE FUNCTION wait_for_writers() RETURNS void
    LANGUAGE sql
    AS $$
    select pg_advisory_xact_lock(hashtext('weir.write'))
$$;
COMMENT ON FUNCTION wait_for_writers() IS 'Waits for the writers that may have agreed on former terms. Others wait until the caller''s transaction ends.';

CREATE TABLE activity (
    local_hour timestamp without time zone NOT NULL,
    events bigint NOT NULL,
    project_id integer NOT NULL,
    event_type text NOT NULL COLLATE "C",
    users roaringbitmap NOT NULL,
    written_at timestamp with time zone DEFAULT now() NOT NULL,
    value_no integer DEFAULT 0 NOT NULL
);
COMMENT ON TABLE activity IS 'Who did what in which hour: deltas, each written in the transaction that stored its events. They can be merged in any order, so late events cost no more than early ones. Read activity_hourly and activity_daily instead.';
COMMENT ON COLUMN activity.local_hour IS 'By the wall clock of the project, so that its days are whole.';
COMMENT ON COLUMN activity.events IS 'How many events.';
COMMENT ON COLUMN activity.event_type IS 'Empty, as no event''s type is: of all types together.';
COMMENT ON COLUMN activity.users IS 'The user_no of each user who had one of them.';
COMMENT ON COLUMN activity.value_no IS 'Of property_values. 0: whatever values the events have.';

CREATE TABLE api_keys (
    key_id integer NOT NULL,
    project_id integer NOT NULL,
    kind text NOT NULL,
    key_hash bytea NOT NULL,
    hint text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY['write'::text, 'read'::text, 'admin'::text])))
);
COMMENT ON TABLE api_keys IS 'The keys of projects.';
COMMENT ON COLUMN api_keys.key_hash IS 'SHA-256. Keys are random, so a slow hash would add nothing.';
COMMENT ON COLUMN api_keys.hint IS 'The first characters of the key, to tell keys apart in a list.';

ALTER TABLE api_keys ALTER COLUMN key_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME api_keys_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE contested_ids (
    project_id integer NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE contested_ids IS 'Ids that several requests sent at the same time, for as long as another copy can be in the stream: writers look for copies of them.';

CREATE TABLE deleted_users (
    project_id integer NOT NULL,
    user_hash bytea NOT NULL,
    deleted_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE deleted_users IS 'Users who were deleted, for as long as events of theirs can be in a stream. What was received until deleted_at is not stored. Whoever comes with that id later is a new user.';
COMMENT ON COLUMN deleted_users.user_hash IS 'SHA-256 of project and user_id.';

CREATE TABLE event_types (
    project_id integer NOT NULL,
    event_type text NOT NULL COLLATE "C",
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE event_types IS 'The event types of projects. Their number is bounded, because each adds rows to the activity of every hour.';

CREATE TABLE events (
    occurred_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    project_id integer NOT NULL,
    user_no integer,
    event_id uuid NOT NULL,
    event_type text NOT NULL COLLATE "C",
    properties jsonb NOT NULL
);
COMMENT ON TABLE events IS 'Every event, once.';
COMMENT ON COLUMN events.occurred_at IS 'When it happened, by the clock of the sender.';
COMMENT ON COLUMN events.received_at IS 'When the API took it.';
COMMENT ON COLUMN events.user_no IS 'Null: an event of no user.';

CREATE TABLE former_users (
    project_id integer NOT NULL,
    from_no integer NOT NULL,
    into_no integer NOT NULL,
    generation bigint NOT NULL,
    moved_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE former_users IS 'Merges that were carried out a short time ago: whoever found from_no before then still finds the user. The columns are those of user_merges.';

CREATE TABLE former_values (
    project_id integer NOT NULL,
    value_no integer NOT NULL
);
COMMENT ON TABLE former_values IS 'Values that activity may still have rows of, though no question is about them any more.';

CREATE TABLE user_merges (
    project_id integer NOT NULL,
    from_no integer NOT NULL,
    into_no integer NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    generation bigint
);
COMMENT ON TABLE user_merges IS 'Merged users whose events and bits are not all moved yet. A row goes when nothing of from_no is left.';
COMMENT ON COLUMN user_merges.from_no IS 'A user without a name.';
COMMENT ON COLUMN user_merges.into_no IS 'Never a from_no: when this user is merged, too, the row gets the new user.';
COMMENT ON COLUMN user_merges.generation IS 'The users_generation from which on writers know from_no as into_no. Null: not begun.';

CREATE VIEW present_users AS
 SELECT user_merges.project_id,
    user_merges.from_no,
    user_merges.into_no,
    user_merges.generation
   FROM user_merges
UNION ALL
 SELECT former_users.project_id,
    former_users.from_no,
    former_users.into_no,
    former_users.generation
   FROM former_users;
COMMENT ON VIEW present_users IS 'Who somebody without a name is now, while there can be any question of it.';

CREATE TABLE projects (
    project_id integer NOT NULL,
    name text,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    week_start smallint DEFAULT 1 NOT NULL,
    last_user_no integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    rate_limit integer,
    rate_burst integer,
    max_event_types integer,
    allowed_origins text[],
    last_value_no integer DEFAULT 0 NOT NULL,
    deleted_at timestamp with time zone,
    removed_at timestamp with time zone,
    CONSTRAINT projects_max_event_types_check CHECK ((max_event_types > 0)),
    CONSTRAINT projects_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text)),
    CONSTRAINT projects_named CHECK (((name IS NOT NULL) OR (deleted_at IS NOT NULL))),
    CONSTRAINT projects_rate_burst_check CHECK ((rate_burst > 0)),
    CONSTRAINT projects_rate_limit_check CHECK ((rate_limit > 0)),
    CONSTRAINT projects_week_start_check CHECK (((week_start >= 1) AND (week_start <= 7)))
);
COMMENT ON TABLE projects IS 'The tenants: what belongs to a project has its project_id. The row of a deleted project goes last.';
COMMENT ON COLUMN projects.name IS 'Null once the project is deleted: the name is free again.';
COMMENT ON COLUMN projects.timezone IS 'A name of the IANA database. Its rules are in time_zones.';
COMMENT ON COLUMN projects.week_start IS 'The first day of a week, as in ISO 8601: 1 is Monday.';
COMMENT ON COLUMN projects.last_user_no IS 'The user_no that was given last.';
COMMENT ON COLUMN projects.rate_limit IS 'Events per second in the long run. Null: as configured.';
COMMENT ON COLUMN projects.rate_burst IS 'Events at once after a rest. Null: as configured.';
COMMENT ON COLUMN projects.max_event_types IS 'The most event types. Null: as configured.';
COMMENT ON COLUMN projects.allowed_origins IS 'Of the web pages that may call; *: all. Null: as configured.';
COMMENT ON COLUMN projects.last_value_no IS 'The value_no that was given last.';
COMMENT ON COLUMN projects.deleted_at IS 'Events that wait in the stream at that time are dropped.';
COMMENT ON COLUMN projects.removed_at IS 'When all else of the deleted project was gone.';

ALTER TABLE projects ALTER COLUMN project_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME projects_project_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE promoted_properties (
    project_id integer NOT NULL,
    property text NOT NULL COLLATE "C",
    promoted_at timestamp with time zone DEFAULT now() NOT NULL,
    first_day date,
    last_day date,
    rebuilt_to date,
    ready_at timestamp with time zone,
    stopped text
);
COMMENT ON TABLE promoted_properties IS 'Properties whose values activity knows, too. History is rebuilt from the events, one day of the project after the other.';
COMMENT ON COLUMN promoted_properties.first_day IS 'The first day to rebuild. Null: not begun.';
COMMENT ON COLUMN promoted_properties.ready_at IS 'From then on questions are answered from activity.';
COMMENT ON COLUMN promoted_properties.stopped IS 'Why activity does not know it any more.';

CREATE TABLE property_values (
    project_id integer NOT NULL,
    value_no integer NOT NULL,
    property text NOT NULL COLLATE "C",
    value text NOT NULL COLLATE "C"
);
COMMENT ON TABLE property_values IS 'The values of promoted properties that are not stopped. A number is given once, and never to another value.';
COMMENT ON COLUMN property_values.value IS 'As jsonb writes it, and null for events without the property. 1 and 1.0 are two rows, but one value to whoever asks: told_value makes them the same text.';

CREATE TABLE recounts (
    project_id integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    recounted_to date
);
COMMENT ON TABLE recounts IS 'Days to count again from the events, because the rules of their project''s time zone have changed.';

CREATE TABLE settled_messages (
    stream timestamp with time zone NOT NULL,
    sequences int8multirange NOT NULL
);
COMMENT ON TABLE settled_messages IS 'The numbers of the messages that are settled, written in the transaction that stored their events: what left the stream and is not here is lost. A worker merges the rows.';
COMMENT ON COLUMN settled_messages.stream IS 'When the stream was created. Each stream counts from 1.';

CREATE TABLE streams (
    created timestamp with time zone NOT NULL,
    last_sequence bigint NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    acknowledged bigint DEFAULT 0 NOT NULL
);
COMMENT ON TABLE streams IS 'The streams that messages came from, so that a loss is known when the stream is gone.';
COMMENT ON COLUMN streams.created IS 'What identifies a stream.';
COMMENT ON COLUMN streams.last_sequence IS 'The number of the newest message that it is known to have had.';
COMMENT ON COLUMN streams.acknowledged IS 'How many missing messages an operator knows of.';

CREATE TABLE time_zones (
    name text NOT NULL COLLATE "C",
    version text NOT NULL COLLATE "C",
    rules bytea NOT NULL
);
COMMENT ON TABLE time_zones IS 'The rules by which days of projects are counted: the same for all processes, on whatever machine they run.';
COMMENT ON COLUMN time_zones.version IS 'A release of the IANA database, such as 2026f.';
COMMENT ON COLUMN time_zones.rules IS 'TZif (RFC 9636).';

CREATE TABLE unfiltered_projects (
    project_id integer NOT NULL,
    until timestamp with time zone NOT NULL
);
COMMENT ON TABLE unfiltered_projects IS 'Projects some of whose events came without deduplication in Redis: writers look for copies of their events.';
COMMENT ON COLUMN unfiltered_projects.until IS 'Of events that are received later, Redis knows all copies.';

CREATE TABLE upkeep (
    only_row boolean DEFAULT true NOT NULL,
    users_generation bigint DEFAULT 0 NOT NULL,
    events_from timestamp with time zone,
    promotions_generation bigint DEFAULT 0 NOT NULL,
    CONSTRAINT upkeep_only_row_check CHECK (only_row)
);
COMMENT ON TABLE upkeep IS 'The terms that writers agree on before they commit: see agree.';
COMMENT ON COLUMN upkeep.users_generation IS 'Grows when users are deleted or merged: writers look up user numbers again.';
COMMENT ON COLUMN upkeep.events_from IS 'Earlier events were dropped, and are not stored again.';
COMMENT ON COLUMN upkeep.promotions_generation IS 'Grows when what is promoted changes, or the rules of a time zone: writers look both up again.';

CREATE TABLE user_aliases (
    project_id integer NOT NULL,
    user_id text NOT NULL COLLATE "C",
    user_no integer NOT NULL,
    since timestamp with time zone
);
COMMENT ON TABLE user_aliases IS 'Further names of users. A name is here or in users, never in both.';
COMMENT ON COLUMN user_aliases.since IS 'As in users.';

CREATE TABLE user_deletions (
    project_id integer NOT NULL,
    user_no integer NOT NULL,
    deleted_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE user_deletions IS 'Deleted users whose events and bits are not all removed yet. A row goes when nothing is left.';

CREATE TABLE users (
    project_id integer NOT NULL,
    user_no integer NOT NULL,
    user_id text NOT NULL COLLATE "C",
    since timestamp with time zone,
    is_known boolean DEFAULT true NOT NULL
);
COMMENT ON TABLE users IS 'The dictionary of users: each gets a number at first sight. Dense numbers make small bitmaps.';
COMMENT ON COLUMN users.since IS 'Somebody else had this user_id and was deleted at that time: what was received until then is not stored.';
COMMENT ON COLUMN users.is_known IS 'False: all that is known of the user is an id from before a login. When somebody known turns out to have it, it becomes their alias.';

CREATE VIEW user_names AS
 SELECT users.project_id,
    users.user_id,
    users.user_no,
    users.since,
    users.is_known,
    false AS is_alias
   FROM users
UNION ALL
 SELECT user_aliases.project_id,
    user_aliases.user_id,
    user_aliases.user_no,
    user_aliases.since,
    true AS is_known,
    true AS is_alias
   FROM user_aliases;
COMMENT ON VIEW user_names IS 'Every name, and the user who has it.';

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY contested_ids
    ADD CONSTRAINT contested_ids_pkey PRIMARY KEY (project_id, event_id);

ALTER TABLE ONLY deleted_users
    ADD CONSTRAINT deleted_users_pkey PRIMARY KEY (project_id, user_hash);

ALTER TABLE ONLY event_types
    ADD CONSTRAINT event_types_pkey PRIMARY KEY (project_id, event_type);

ALTER TABLE ONLY former_users
    ADD CONSTRAINT former_users_pkey PRIMARY KEY (project_id, from_no);

ALTER TABLE ONLY former_values
    ADD CONSTRAINT former_values_pkey PRIMARY KEY (project_id, value_no);

ALTER TABLE ONLY projects
    ADD CONSTRAINT projects_name_key UNIQUE (name);

ALTER TABLE ONLY projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (project_id);

ALTER TABLE ONLY promoted_properties
    ADD CONSTRAINT promoted_properties_pkey PRIMARY KEY (project_id, property);

ALTER TABLE ONLY property_values
    ADD CONSTRAINT property_values_pkey PRIMARY KEY (project_id, value_no);

ALTER TABLE ONLY property_values
    ADD CONSTRAINT property_values_project_id_property_value_key UNIQUE (project_id, property, value);

ALTER TABLE ONLY recounts
    ADD CONSTRAINT recounts_pkey PRIMARY KEY (project_id, first_day);

ALTER TABLE ONLY streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (created);

ALTER TABLE ONLY time_zones
    ADD CONSTRAINT time_zones_pkey PRIMARY KEY (name);

ALTER TABLE ONLY unfiltered_projects
    ADD CONSTRAINT unfiltered_projects_pkey PRIMARY KEY (project_id);

ALTER TABLE ONLY upkeep
    ADD CONSTRAINT upkeep_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY user_aliases
    ADD CONSTRAINT user_aliases_pkey PRIMARY KEY (project_id, user_id);

ALTER TABLE ONLY user_deletions
    ADD CONSTRAINT user_deletions_pkey PRIMARY KEY (project_id, user_no);

ALTER TABLE ONLY user_merges
    ADD CONSTRAINT user_merges_pkey PRIMARY KEY (project_id, from_no);

ALTER TABLE ONLY user_traits
    ADD CONSTRAINT user_traits_pkey PRIMARY KEY (project_id, user_no, name);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (project_id, user_no);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_project_id_user_id_key UNIQUE (project_id, user_id);

CREATE INDEX activity_of_series ON activity USING btree (project_id, event_type, value_no, local_hour);

CREATE INDEX aliases_of_user ON user_aliases USING btree (project_id, user_no);

CREATE INDEX events_by_time ON events USING brin (occurred_at) WITH (autosummarize='on');

CREATE UNIQUE INDEX events_identity ON events USING btree (project_id, event_id, occurred_at);

CREATE INDEX events_of_user ON events USING btree (project_id, user_no, occurred_at DESC, event_id DESC);

CREATE INDEX former_users_by_generation ON former_users USING btree (generation);

CREATE INDEX former_users_of_user ON former_users USING btree (project_id, into_no);

CREATE INDEX merges_into_user ON user_merges USING btree (project_id, into_no);

CREATE INDEX projects_deleted ON projects USING btree (project_id) WHERE (deleted_at IS NOT NULL);

CREATE INDEX traits_by_value ON user_traits USING btree (project_id, name, value);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY contested_ids
    ADD CONSTRAINT contested_ids_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id) ON DELETE CASCADE;

ALTER TABLE ONLY deleted_users
    ADD CONSTRAINT deleted_users_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY event_types
    ADD CONSTRAINT event_types_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY former_users
    ADD CONSTRAINT former_users_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY former_values
    ADD CONSTRAINT former_values_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY promoted_properties
    ADD CONSTRAINT promoted_properties_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY property_values
    ADD CONSTRAINT property_values_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY recounts
    ADD CONSTRAINT recounts_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id) ON DELETE CASCADE;

ALTER TABLE ONLY unfiltered_projects
    ADD CONSTRAINT unfiltered_projects_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id) ON DELETE CASCADE;

ALTER TABLE ONLY user_aliases
    ADD CONSTRAINT user_aliases_project_id_user_no_fkey FOREIGN KEY (project_id, user_no) REFERENCES users(project_id, user_no) ON DELETE CASCADE;

ALTER TABLE ONLY user_deletions
    ADD CONSTRAINT user_deletions_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

ALTER TABLE ONLY user_merges
    ADD CONSTRAINT user_merges_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(project_id);

SELECT create_hypertable('activity', by_range('local_hour', INTERVAL '7 days'));
SELECT create_hypertable('events', by_range('occurred_at', INTERVAL '7 days'));

CREATE MATERIALIZED VIEW activity_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
 SELECT project_id,
    event_type,
    value_no,
    time_bucket('01:00:00'::interval, local_hour) AS local_hour,
    rb_or_agg(users) AS users,
    (sum(events))::bigint AS events
   FROM activity
  GROUP BY project_id, event_type, value_no, (time_bucket('01:00:00'::interval, local_hour));
COMMENT ON VIEW activity_hourly IS 'Activity by hour. Merge rows of the same hour: on the Apache edition there may be several.';

CREATE INDEX ON activity_hourly USING btree (local_hour DESC);
CREATE INDEX ON activity_hourly USING btree (project_id, event_type, value_no, local_hour);

CREATE MATERIALIZED VIEW activity_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
 SELECT project_id,
    event_type,
    value_no,
    time_bucket('1 day'::interval, local_hour) AS local_day,
    rb_or_agg(users) AS users,
    (sum(events))::bigint AS events
   FROM activity_hourly
  GROUP BY project_id, event_type, value_no, (time_bucket('1 day'::interval, local_hour));
COMMENT ON VIEW activity_daily IS 'Activity by day. Merge rows of the same day: on the Apache edition there may be several.';

CREATE INDEX ON activity_daily USING btree (local_day DESC);
CREATE INDEX ON activity_daily USING btree (project_id, event_type, value_no, local_day);
