# TimescaleDB's Community edition, the vendor's image, with the bitmap type that weir stores users in.
#
# The image has every version of TimescaleDB since 2.17, so a newer image serves an older database as it is; what a
# newer version brings is there after `alter extension timescaledb update`.
FROM timescale/timescaledb-ha:pg17.11-ts2.29.2

USER root
# Of the repositories that the image knows, only the PostgreSQL project's: no other has the package, and a fault in
# another cannot stop the build. PostgreSQL itself stays at the image's version.
RUN apt-get update -o Dir::Etc::SourceList=/etc/apt/sources.list.d/pgdg.list -o Dir::Etc::SourceParts=- \
 && apt-get install --yes --no-install-recommends postgresql-17-roaringbitmap \
 && rm -rf /var/lib/apt/lists/*
USER postgres
