-- Removes all activity of a project. One caller at a time, and not while activity is rolled up.
create procedure remove_activity(of_project int) language plpgsql as $$
begin
    delete from activity where project_id = of_project;
    delete from activity_hours where project_id = of_project;
    delete from activity_days where project_id = of_project;
end
$$;
