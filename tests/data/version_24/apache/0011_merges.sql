-- Replaces users by others in every bitmap of a project; `from_nos` ascend. One caller at a time, and not while activity is rolled up.
create procedure merge_users(of_project int, from_nos int[], into_nos int[]) language plpgsql as $$
declare
    gone roaringbitmap := rb_build(from_nos);
begin
    update activity set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
    update activity_hours set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
    update activity_days set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
end
$$;
