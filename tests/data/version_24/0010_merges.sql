-- Further names of users: what comes under such a name is that user's. A name stands here or in `users`, never in both.
create table user_aliases (
    project_id int         not null,
    user_id    text        not null collate "C",
    user_no    int         not null,
    since      timestamptz,  -- as in users: what was received under this name until then is of somebody who was deleted
    primary key (project_id, user_id),
    foreign key (project_id, user_no) references users on delete cascade
);
create index aliases_of_user on user_aliases (project_id, user_no);

-- Every name, and whose it is.
create view user_names as
select project_id, user_id, user_no, since from users
union all
select project_id, user_id, user_no, since from user_aliases;

-- What is still to become another user's: a row goes when nothing of `from_no` is left. `from_no` has no name any more, and
-- `into_no` is never to become another's itself: who merges that one, too, sets it anew here.
create table user_merges (
    project_id   int         not null references projects,
    from_no      int         not null,
    into_no      int         not null,
    requested_at timestamptz not null,
    primary key (project_id, from_no)
);
create index merges_into_user on user_merges (project_id, into_no);

-- A bitmap in which `from_nos` are replaced by the `into_nos` beside them. `from_nos` ascend, which makes looking one up a
-- binary search; `gone` is their bitmap.
create function merge_bits(users roaringbitmap, gone roaringbitmap, from_nos int[], into_nos int[]) returns roaringbitmap
stable language sql as $$
    select rb_or(rb_andnot(users, gone), rb_build_agg(into_nos[width_bucket(from_no, from_nos)]))
    from unnest(rb_to_array(rb_and(users, gone))) as there (from_no)
$$;
