-- What events say of their users: whose an id from before a login is, and what is known of a user.

alter table users add column is_known boolean not null default true;
comment on column users.is_known is
    'False: all that is known of the user is an id from before a login. When somebody known turns out to have it, it '
    'becomes their alias.';

create or replace view user_names as
select project_id, user_id, user_no, since, is_known, false as is_alias from users
union all
select project_id, user_id, user_no, since, true, true from user_aliases;

alter table user_merges add column generation bigint;
comment on column user_merges.generation is
    'The users_generation from which on writers know from_no as into_no. Null: not begun.';

create table former_users (
    project_id int         not null references projects,
    from_no    int         not null,
    into_no    int         not null,
    generation bigint      not null,
    moved_at   timestamptz not null default now(),
    primary key (project_id, from_no)
);
create index former_users_of_user on former_users (project_id, into_no);
create index former_users_by_generation on former_users (generation);
comment on table former_users is
    'Merges that were carried out a short time ago: whoever found from_no before then still finds the user. The columns '
    'are those of user_merges.';

create view present_users as
select project_id, from_no, into_no, generation from user_merges
union all
select project_id, from_no, into_no, generation from former_users;
comment on view present_users is 'Who somebody without a name is now, while there can be any question of it.';

create table user_traits (
    project_id int         not null,
    user_no    int         not null,
    name       text        not null collate "C",
    value      jsonb       not null,
    set_at     timestamptz not null,
    is_initial boolean     not null,
    primary key (project_id, user_no, name)
);
create index traits_by_value on user_traits (project_id, name, value);
comment on table user_traits is
    'What is known of users. Of everything that was said of a trait, the row that wins is kept: see trait_wins.';
comment on column user_traits.value is 'JSON''s null: the trait was taken back.';
comment on column user_traits.set_at is 'When the event happened that said so.';
comment on column user_traits.is_initial is 'The first value counts, and any value that is not initial counts more.';

create function trait_wins(new user_traits, old user_traits) returns boolean immutable parallel safe language sql as $$
    select case
        when new.is_initial <> old.is_initial then old.is_initial
        when new.set_at <> old.set_at then (new.set_at < old.set_at) = new.is_initial
        else new.value::text collate "C" > old.value::text collate "C"
    end
$$;
comment on function trait_wins(user_traits, user_traits) is
    'Which of two values of a trait is kept. It is an order of all values, so it does not matter in which order they '
    'come, nor how often.';
