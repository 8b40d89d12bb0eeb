-- The Apache edition has no continuous aggregates: deltas move into one row per hour and one per day, and views add
-- what has not moved yet. A statement sees the deltas either before or after their move, so each event counts once.
create table activity_hours (
    local_hour timestamp     not null,
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null,
    primary key (project_id, event_type, local_hour)
);
create index activity_hours_of_project on activity_hours (project_id, local_hour);

create table activity_days (
    local_day  timestamp     not null,
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null,
    primary key (project_id, event_type, local_day)
);
create index activity_days_of_project on activity_days (project_id, local_day);

create view activity_hourly as
select project_id, event_type, local_hour, rb_or_agg(users) as users, sum(events)::bigint as events
from (
    select project_id, event_type, local_hour, users, events from activity_hours
    union all
    select project_id, event_type, local_hour, users, events from activity
) as hours
group by project_id, event_type, local_hour;

create view activity_daily as
select project_id, event_type, local_day, rb_or_agg(users) as users, sum(events)::bigint as events
from (
    select project_id, event_type, local_day, users, events from activity_days
    union all
    select project_id, event_type, time_bucket('1 day', local_hour), users, events from activity
) as days
group by project_id, event_type, local_day;

-- Moves the deltas of the hours before `horizon`, and of later hours once they are many enough to slow a reader.
-- One caller at a time.
create procedure roll_up(horizon timestamp) language plpgsql as $$
begin
    with moving as (
        select project_id, event_type, local_hour
        from activity
        group by project_id, event_type, local_hour
        having local_hour < horizon or count(*) >= 64
    ), moved as (
        delete from activity using moving
        where activity.project_id = moving.project_id
          and activity.event_type = moving.event_type
          and activity.local_hour = moving.local_hour
        returning activity.*
    ), hours as (
        insert into activity_hours as kept (project_id, event_type, local_hour, users, events)
        select project_id, event_type, local_hour, rb_or_agg(users), sum(events)
        from moved
        group by project_id, event_type, local_hour
        on conflict (project_id, event_type, local_hour)
        do update set users = rb_or(kept.users, excluded.users), events = kept.events + excluded.events
    )
    insert into activity_days as kept (project_id, event_type, local_day, users, events)
    select project_id, event_type, time_bucket('1 day', local_hour), rb_or_agg(users), sum(events)
    from moved
    group by project_id, event_type, time_bucket('1 day', local_hour)
    on conflict (project_id, event_type, local_day)
    do update set users = rb_or(kept.users, excluded.users), events = kept.events + excluded.events;
end
$$;
