-- Activity in hours and days on the Apache edition, which has no continuous aggregates: a worker moves deltas into
-- tables, and views add those that have not moved yet. A statement sees a delta either before or after its move, so
-- each event counts once. Readers and jobs find the same names on both editions.
--
-- The procedures are called by one worker at a time: all of them hold the lock of the roll-up.

create table activity_hours (
    local_hour timestamp     not null,
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null,
    value_no   int           not null default 0,
    primary key (project_id, event_type, value_no, local_hour)
);
create index activity_hours_of_project on activity_hours (project_id, local_hour);
comment on table activity_hours is 'Activity that is rolled up, by hour. The columns are those of activity.';

create table activity_days (
    local_day  timestamp     not null,
    events     bigint        not null,
    project_id int           not null,
    event_type text          not null collate "C",
    users      roaringbitmap not null,
    value_no   int           not null default 0,
    primary key (project_id, event_type, value_no, local_day)
);
create index activity_days_of_project on activity_days (project_id, local_day);
comment on table activity_days is 'The same activity, by day.';

-- What is rolled up, and beside it what is not yet: readers merge bitmaps anyway, and to group a single row here would
-- only take it apart.
create view activity_hourly as
select project_id, event_type, value_no, local_hour, users, events from activity_hours
union all
select project_id, event_type, value_no, local_hour, users, events from activity;
comment on view activity_hourly is 'Activity by hour. Several rows may be of one hour: merge them.';

create view activity_daily as
select project_id, event_type, value_no, local_day, users, events from activity_days
union all
select project_id, event_type, value_no, time_bucket('1 day', local_hour), users, events from activity;
comment on view activity_daily is 'Activity by day. Several rows may be of one day: merge them.';

create procedure roll_up(horizon timestamp) language plpgsql as $$
begin
    with moved as (
        delete from activity where local_hour < horizon returning *
    ), hours as (
        insert into activity_hours as kept (project_id, event_type, value_no, local_hour, users, events)
        select project_id, event_type, value_no, local_hour, rb_or_agg(users), sum(events)
        from moved
        group by project_id, event_type, value_no, local_hour
        on conflict (project_id, event_type, value_no, local_hour)
        do update set users = rb_or(kept.users, excluded.users), events = kept.events + excluded.events
    )
    insert into activity_days as kept (project_id, event_type, value_no, local_day, users, events)
    select project_id, event_type, value_no, time_bucket('1 day', local_hour), rb_or_agg(users), sum(events)
    from moved
    group by project_id, event_type, value_no, time_bucket('1 day', local_hour)
    on conflict (project_id, event_type, value_no, local_day)
    do update set users = rb_or(kept.users, excluded.users), events = kept.events + excluded.events;
    call merge_deltas(horizon);
end
$$;
comment on procedure roll_up(timestamp) is
    'Moves the deltas of the hours before horizon. Later hours stay deltas, which merge in place: days are large, and '
    'each move would write them again.';

create procedure remove_users(of_project int, gone roaringbitmap) language plpgsql as $$
begin
    update activity set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
    update activity_hours set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
    update activity_days set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
end
$$;
comment on procedure remove_users(int, roaringbitmap) is 'Takes users out of every bitmap of a project.';

create procedure merge_users(of_project int, from_nos int[], into_nos int[]) language plpgsql as $$
declare
    gone roaringbitmap := rb_build(from_nos);
begin
    update activity set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
    update activity_hours set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
    update activity_days set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
end
$$;
comment on procedure merge_users(int, int[], int[]) is
    'Replaces users in every bitmap of a project. from_nos ascend, as merge_bits asks for.';

create procedure remove_values(of_project int, gone int[], day timestamp) language plpgsql as $$
begin
    delete from activity
    where project_id = of_project and value_no = any(gone)
      and (day is null or local_hour >= day and local_hour < day + interval '1 day');
    delete from activity_hours
    where project_id = of_project and value_no = any(gone)
      and (day is null or local_hour >= day and local_hour < day + interval '1 day');
    delete from activity_days
    where project_id = of_project and value_no = any(gone) and (day is null or local_day = day);
end
$$;
comment on procedure remove_values(int, int[], timestamp) is
    'Removes the rows of values: those of one day, or all if day is null.';

create procedure remove_day(of_project int, day timestamp) language plpgsql as $$
begin
    delete from activity where project_id = of_project and local_hour >= day and local_hour < day + interval '1 day';
    delete from activity_hours where project_id = of_project and local_hour >= day and local_hour < day + interval '1 day';
    delete from activity_days where project_id = of_project and local_day = day;
end
$$;
comment on procedure remove_day(int, timestamp) is 'Removes the rows of a day.';

create procedure remove_activity(of_project int) language plpgsql as $$
begin
    delete from activity where project_id = of_project;
    delete from activity_hours where project_id = of_project;
    delete from activity_days where project_id = of_project;
end
$$;
comment on procedure remove_activity(int) is 'Removes all activity of a project.';
