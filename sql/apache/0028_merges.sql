-- A merge looks only at the hours in which one of the users was active.

create or replace procedure merge_users(of_project int, from_nos int[], into_nos int[]) language plpgsql as $$
declare
    gone  roaringbitmap := rb_build(from_nos);
    days  timestamp[];
    hours timestamp[];
begin
    -- Whoever is in a bitmap of an hour or day is in that of all types and all values, too.
    days := array(
        select distinct local_day from activity_daily
        where project_id = of_project and event_type = '' and value_no = 0 and users && gone
    );
    hours := array(
        select distinct local_hour from activity_hourly
        where project_id = of_project and event_type = '' and value_no = 0 and users && gone
          and local_hour = any(array(
              select day + hour * interval '1 hour' from unnest(days) as day, generate_series(0, 23) as hour
          ))
    );
    update activity set users = merge_bits(users, gone, from_nos, into_nos)
    where project_id = of_project and local_hour = any(hours) and users && gone;
    update activity_hours set users = merge_bits(users, gone, from_nos, into_nos)
    where project_id = of_project and local_hour = any(hours) and users && gone;
    update activity_days set users = merge_bits(users, gone, from_nos, into_nos)
    where project_id = of_project and local_day = any(days) and users && gone;
end
$$;
