-- What is rolled up, and beside it what is not yet: several rows may be of the same hour or day, and merge. A reader merges
-- them anyway, and what is alone need not be taken apart before.
create or replace view activity_hourly as
select project_id, event_type, local_hour, users, events from activity_hours
union all
select project_id, event_type, local_hour, users, events from activity;

create or replace view activity_daily as
select project_id, event_type, local_day, users, events from activity_days
union all
select project_id, event_type, time_bucket('1 day', local_hour), users, events from activity;

-- Moves the deltas of the hours before `horizon`, and merges those of later hours in place: days are large, and would be
-- written again with each move. One caller at a time.
create or replace procedure roll_up(horizon timestamp) language plpgsql as $$
begin
    with moved as (
        delete from activity where local_hour < horizon returning *
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
    call merge_deltas(horizon);
end
$$;
