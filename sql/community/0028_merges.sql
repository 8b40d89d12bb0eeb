-- A merge looks only at the hours in which one of the users was active.

create or replace procedure merge_users(of_project int, from_nos int[], into_nos int[]) language plpgsql as $$
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
