drop view activity_hourly;
drop view activity_daily;

alter table activity_hours
    add column value_no int not null default 0,
    drop constraint activity_hours_pkey,
    add primary key (project_id, event_type, value_no, local_hour);
alter table activity_days
    add column value_no int not null default 0,
    drop constraint activity_days_pkey,
    add primary key (project_id, event_type, value_no, local_day);

create view activity_hourly as
select project_id, event_type, value_no, local_hour, users, events from activity_hours
union all
select project_id, event_type, value_no, local_hour, users, events from activity;

create view activity_daily as
select project_id, event_type, value_no, local_day, users, events from activity_days
union all
select project_id, event_type, value_no, time_bucket('1 day', local_hour), users, events from activity;

-- Moves the deltas of the hours before `horizon`, and merges those of later hours in place: days are large, and would be
-- written again with each move. One caller at a time.
create or replace procedure roll_up(horizon timestamp) language plpgsql as $$
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

-- Takes the rows of values out of activity: of one day, or of all if that is null. One caller at a time, and not while
-- activity is rolled up.
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
