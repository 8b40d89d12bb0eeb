-- Takes users out of every bitmap of a project. One caller at a time, and not while activity is rolled up.
create procedure remove_users(of_project int, gone roaringbitmap) language plpgsql as $$
begin
    update activity set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
    update activity_hours set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
    update activity_days set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
end
$$;
