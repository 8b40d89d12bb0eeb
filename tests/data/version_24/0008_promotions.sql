-- Promoted properties: activity knows their values too, beside event types. A row of activity is of all values together
-- (value_no 0), or of one value of one promoted property.
alter table activity add column value_no int not null default 0;
drop index activity_of_series;
create index activity_of_series on activity (project_id, event_type, value_no, local_hour);

-- An operator promotes and demotes; a property stops by itself when it has too many values for activity.
create table promoted_properties (
    project_id  int         not null references projects,
    property    text        not null collate "C",
    promoted_at timestamptz not null default now(),
    -- History is rebuilt from the events day by day, on the project's calendar. Null: not begun.
    first_day   date,
    last_day    date,
    rebuilt_to  date,
    ready_at    timestamptz,  -- from then on questions are answered from activity
    stopped     text,         -- why activity does not know it any more
    primary key (project_id, property)
);

-- The values of promoted properties that are not stopped: numbers that are given once and never to another value. As JSON,
-- as jsonb writes it: two numbers that are equal and are told differently, 1 and 1.0, are two values. An event without
-- the property has the value null.
create table property_values (
    project_id int  not null references projects,
    value_no   int  not null,
    property   text not null collate "C",
    value      text not null collate "C",
    primary key (project_id, value_no),
    unique (project_id, property, value)
);
alter table projects add column last_value_no int not null default 0;

-- Values of which rows may be left in activity, though nothing asks for them any more.
create table former_values (
    project_id int not null references projects,
    value_no   int not null,
    primary key (project_id, value_no)
);

-- Writers agree on what is promoted. Under a new name, so that writers of an earlier version, which know no promotions,
-- stop here and leave their messages to others.
alter table upkeep add column promotions_generation bigint not null default 0;
drop function begin_writing();
create function agree_on_terms()
returns table (users_generation bigint, promotions_generation bigint, events_from timestamptz)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('weir.write'));
    -- A statement of its own: it sees what was committed while this waited.
    return query select upkeep.users_generation, upkeep.promotions_generation, upkeep.events_from from upkeep;
end
$$;

create or replace procedure merge_deltas(since timestamp) language sql as $$
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
