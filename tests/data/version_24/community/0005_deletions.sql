-- Takes users out of every bitmap of a project. One caller at a time, and not while activity is rolled up: the next
-- roll-up brings it into the continuous aggregates.
create procedure remove_users(of_project int, gone roaringbitmap) language plpgsql as $$
begin
    update activity set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
end
$$;
