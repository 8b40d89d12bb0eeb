-- Removes all activity of a project. One caller at a time, and not while activity is rolled up: the next roll-up removes it from the
-- continuous aggregates.
create procedure remove_activity(of_project int) language plpgsql as $$
begin
    delete from activity where project_id = of_project;
end
$$;
