#!/usr/bin/env python3
"""Checks the flight programs, row by row and in order, against DuckDB.

    examples/flights/check.py [--slice] [--flags "-w 2"] [VARPULIS]

The data is the whole of 2013 where it is at hand (`NYCFLIGHTS_DIR`, or `../shared/data/nycflights13`
beside the checkout), else, or with `--slice`, the three days that ship in `data/`. DuckDB comes from
PyPI into a virtual environment in the cache directory.

The SQL states the meaning of each program from the language's definition: event time, a row's place,
when a row is late, and the order of the output. Nothing in it is taken from the engine.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.append(str(REPOSITORY / "tests" / "duckdb"))

from environment import CACHE, import_duckdb  # noqa: E402

HOUR = 3_600_000_000_000

# Event time of a flight; `place` is the greater of the row's own time and the watermark when it was
# read, which is the greatest time up to it in the file less the out-of-orderness.
LOAD = """
create table flight as
    select row_number() over () as pos, * exclude (year, month, day, hour), year * 10000 + month * 100 + day as date,
           epoch_ns(replace(time_hour, 'Z', '')::timestamp) + minute * 60000000000 as t
    from read_csv('{flights}', header = true, nullstr = 'NA', types = {{
        'time_hour': 'VARCHAR', 'dep_time': 'BIGINT', 'dep_delay': 'BIGINT', 'arr_time': 'BIGINT',
        'arr_delay': 'BIGINT', 'air_time': 'BIGINT', 'minute': 'BIGINT', 'distance': 'BIGINT', 'tailnum': 'VARCHAR'}});
create table weather as
    select row_number() over () as pos, * exclude (year, month, day, hour), epoch_ns(replace(time_hour, 'Z', '')::timestamp) as t
    from read_csv('{weather}', header = true, nullstr = 'NA', types = {{
        'time_hour': 'VARCHAR', 'wind_gust': 'DOUBLE', 'precip': 'DOUBLE'}});
create table plane as
    select * from read_csv('{planes}', header = true, nullstr = 'NA', types = {{
        'tailnum': 'VARCHAR', 'year': 'BIGINT', 'seats': 'BIGINT'}});
create macro placed(out_of_order) as table
    select *, greatest(t, max(t) over (order by pos rows unbounded preceding) - out_of_order) as place from flight;
create view on_time as select * from placed(24 * {hour}) where t >= place;
create macro floor_to(t, size) as t - ((t % size) + size) % size;
"""

DAILY = """
    select floor_to(t, {h} * 24) + {h} * 24 - 1 as _time, floor_to(t, {h} * 24) as day,
           count(*) as flights, count(*) filter (dep_time is null) as cancelled
    from placed({wait} * {h}) where floor_to(t, {h} * 24) + {h} * 24 > place group by all order by _time
"""
TOO_LATE = """
    select place as _time, carrier, flight, origin, t as scheduled
    from placed({wait} * {h}) where floor_to(t, {h} * 24) + {h} * 24 <= place order by place, pos
"""

# Program -> stream -> query. Columns named in TIMES are nanoseconds since 1970.
QUERIES = {
    "carrier_hours": {"CarrierHours": """
        select floor_to(t, {h}) + {h} - 1 as _time, floor_to(t, {h}) as hour, carrier, count(*) as flights,
               count(dep_delay) as departed, sum(dep_delay) / count(dep_delay) as delay, max(dep_delay) as worst
        from placed(24 * {h}) where floor_to(t, {h}) + {h} > place
        group by _time, hour, carrier order by _time, carrier
    """},
    "worst_routes": {"WorstRoutes": """
        with local as (
            select *, date_trunc('day', make_timestamptz(t // 1000) at time zone 'America/New_York') as local_day,
                   epoch_ns(local_day at time zone 'America/New_York') as day,
                   epoch_ns((local_day + interval 1 day) at time zone 'America/New_York') as day_end
            from placed(24 * {h})
        ), routes as (
            select day_end - 1 as _time, day, origin || '-' || dest as route, count(*) as flights,
                   sum(dep_delay) / count(*) as delay
            from local where dep_delay is not null and day_end > place group by all having count(*) >= 5
        )
        select _time, day, route, flights, delay from routes
        qualify row_number() over (partition by day order by delay desc, route) <= 3
        order by _time, delay desc, route
    """},
    "airport_trend": {"AirportTrend": """
        with panes as (
            select *, floor_to(t, {h}) + {h} * k.n as until from placed(24 * {h}), (select unnest(range(1, 7)) as n) k
        )
        select until - 1 as _time, until, origin as airport, count(*) as flights,
               sum(dep_delay) / count(dep_delay) as delay, stddev_samp(dep_delay) as spread
        from panes where until > place group by until, origin order by until, origin
    """},
    "aircraft_days": {"AircraftDays": """
        with marked as (
            select *, coalesce(t - lag(t) over w >= 4 * {h}, true) as opens
            from placed(24 * {h}) where tailnum is not null and t >= place window w as (partition by tailnum order by t, pos)
        ), numbered as (
            select *, sum(opens::int) over (partition by tailnum order by t, pos) as session from marked
        )
        select max(t) + 4 * {h} - 1 as _time, tailnum, min(t) as start, max(t) + 4 * {h} as end, count(*) as flights,
               list(origin || '-' || dest order by t, pos) as routes, sum(distance) as miles
        from numbered group by tailnum, session having count(*) >= 2 order by _time, tailnum
    """},
    "daily_late": {"Daily": DAILY.replace("{wait}", "1"), "TooLate": TOO_LATE.replace("{wait}", "1")},
    "daily": {"Daily": DAILY.replace("{wait}", "24"), "TooLate": TOO_LATE.replace("{wait}", "24")},
    "windy_days": {"WindyDays": """
        with both_inputs as (
            select t, place, origin, dep_time is null as cancelled, null as wind_gust, null as precip from placed(24 * {h})
            union all by name
            select t, t as place, origin, null as cancelled, wind_gust, precip from weather
        )
        select floor_to(t, {h} * 24) + {h} * 24 - 1 as _time, floor_to(t, {h} * 24) as day, origin as airport,
               count(cancelled) as flights, count(*) filter (cancelled) as cancelled, max(wind_gust) as gust,
               list(precip) filter (precip is not null) as rain
        from both_inputs where floor_to(t, {h} * 24) + {h} * 24 > place group by day, _time, origin order by _time, origin
    """},
    # What a table has at the place of each flight. Flights with equal places are in the order of what is looked up.
    "fleet": {"Fleet": """
        select f.t as _time, f.carrier, f.flight, f.tailnum, p.year as built, p.manufacturer as maker, p.model, p.seats
        from placed(24 * {h}) f left join plane p on p.tailnum = f.tailnum
        order by f.place, f.tailnum nulls first, f.pos
    """},
    "weather_at_departure": {"AtDeparture": """
        with latest as (select * from weather qualify row_number() over (partition by origin, t order by pos desc) = 1)
        select f.t as _time, f.carrier, f.flight, f.origin as airport, w.t as observed, w.temp, w.wind_gust as gust, w.visib,
               f.dep_time is null as cancelled
        from placed(24 * {h}) f asof left join latest w on w.origin = f.origin and w.t <= f.place
        order by f.place, f.origin, f.pos
    """},
    # At each place the five greatest means over all flights up to it, and how they differ from those of the place before.
    "tables/top_airlines": {"TopAirlines": """
        with parts as (
            select place, carrier, sum(dep_delay) as total, count(*) as n
            from placed(24 * {h}) where dep_delay is not null group by place, carrier
        ), so_far as (
            select place, carrier, sum(total) over w as total, sum(n) over w as n
            from parts window w as (partition by carrier order by place)
        ), places as (
            select p.place, c.carrier from (select distinct place from parts) p, (select distinct carrier from parts) c
        ), means as (
            select p.place, p.carrier, f.n::bigint as flights, (f.total / f.n)::double as delay
            from places p asof join so_far f on f.carrier = p.carrier and f.place <= p.place
        ), ranked as (
            select *, row_number() over (partition by place order by delay desc, carrier) <= 5 as is_top from means
        ), compared as (
            select *, coalesce(lag(is_top) over w, false) as was_top, lag(flights) over w as old_flights, lag(delay) over w as old_delay
            from ranked window w as (partition by carrier order by place)
        )
        select place as _time,
               case when not is_top then 'delete' when was_top then 'update' else 'insert' end as op, carrier,
               case when is_top then flights else old_flights end as flights,
               case when is_top then delay else old_delay end as delay
        from compared where (is_top or was_top) and not (is_top and was_top and flights = old_flights)
        order by _time, carrier
    """},
    # Patterns. Rows of a key are in the order of time, then of the file; `strict` is what follows at once. Rows of the
    # output that agree in time and key are in the order of their text.
    "patterns/late_all_day": {"LateAllDay": """
        with next as (
            select *, lead(t) over w as t2, lead(dep_delay) over w as d2, lead(dest) over w as dest2,
                   lead(date) over w as date2, lead(t, 2) over w as t3, lead(dep_delay, 2) over w as d3,
                   lead(dest, 2) over w as dest3, lead(date, 2) over w as date3
            from on_time where tailnum is not null and dep_delay is not null window w as (partition by tailnum order by t, pos)
        )
        select t3 as _time, tailnum, t as scheduled, dep_delay as delay, [d2, d3] as delays, dest2 || '-' || dest3 as route
        from next where dep_delay > 60 and d2 > 0 and d3 > 0 and date2 = date and date3 = date and t3 - t < {h} * 24
        order by _time, tailnum, scheduled
    """},
    "patterns/rising_delays": {"RisingDelays": """
        with next as (
            select *, lead(dep_delay) over w as d2, lead(t, 2) over w as t3, lead(dep_delay, 2) over w as d3
            from on_time where dep_delay is not null window w as (partition by carrier, origin order by t, pos)
        )
        select t3 as _time, carrier, origin, t as since, flight as first, [dep_delay, d2, d3] as delays
        from next where dep_delay >= 60 and d2 > dep_delay and d3 > d2 and t3 - t < 3 * {h}
        order by _time, carrier, origin, since, first || ','
    """},
    # Of equal times the flights come first: their file's name does.
    "patterns/gusts_stay": {"GustsStay": """
        select s.t + 3 * {h} as _time, s.origin as airport, s.wind_gust as gust, f.t as scheduled, f.carrier, f.flight
        from weather s join on_time f on f.origin = s.origin and f.t > s.t and f.t - s.t < {h}
        where s.wind_gust > 34.5 and f.dep_delay is not null and not exists (
            select 1 from weather w where w.origin = s.origin and w.t >= f.t and w.t - s.t < 3 * {h}
                and (w.wind_gust is null or w.wind_gust <= 34.5))
        order by _time, airport, scheduled, carrier, flight || '}'
    """},
    # Joins. Rows that agree in time are in the order of their text.
    "joins/turnarounds": {"Turnarounds": """
        with leg as (
            select *, row_number() over (partition by tailnum order by t, pos) as n from on_time where tailnum is not null
        )
        select greatest(a.t, b.t) as _time, a.tailnum, a.n, a.t as scheduled, a.origin || '-' || a.dest as route,
               b.t as next, b.origin || '-' || b.dest as next_route
        from leg a left join leg b on a.tailnum = b.tailnum and a.n + 1 = b.n and b.t between a.t and a.t + 12 * {h}
        order by _time, a.tailnum, a.n || ','
    """},
    "joins/gusty_departures": {"GustyDepartures": """
        with gust as (select * from weather where wind_gust > 34.5)
        select greatest(g.t, f.t) as _time, g.origin as airport, g.wind_gust as gust, g.t as measured, f.carrier, f.flight,
               f.dep_delay as delay
        from gust g left join on_time f on g.origin = f.origin and f.dep_delay >= 30 and f.t between g.t and g.t + {h}
        order by _time, airport, gust, measured, carrier, f.flight || ',', f.dep_delay || '}'
    """},
}
WITH_WEATHER = {"windy_days", "weather_at_departure", "patterns/gusts_stay", "joins/gusty_departures"}
WITH_PLANES = {"fleet"}
TIMES = {"_time", "hour", "day", "until", "start", "end", "scheduled", "since", "next", "measured", "observed"}
# Columns whose last bits the language leaves open.
ROUNDED = {"spread"}
# Columns that SQL gives as the list of terms, because its own float sums depend on the order.
SUMS = {"rain"}


def nanoseconds(text):
    """RFC 3339 in UTC to nanoseconds since 1970."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc).timestamp())
    return seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def run_program(binary, program, inputs, flags):
    """The rows of each output stream, as lists of values."""
    command = [binary, HERE / f"{program}.vpl", "--quiet", "--format", "jsonl", *inputs, *flags]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {result.returncode}\n{result.stderr}")
    streams = {}
    for line in result.stdout.splitlines():
        row = json.loads(line)
        streams.setdefault(row.pop("_stream"), []).append(
            {k: nanoseconds(v) if k in TIMES and v is not None else v for k, v in row.items()})
    return streams


def expected_rows(db, query):
    cursor = db.execute(query.replace("{h}", str(HOUR)))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row)) for row in cursor.fetchall()]
    for row in rows:
        for name in SUMS & row.keys():
            row[name] = math.fsum(row[name]) if row[name] else None
    return rows


def differs(name, wanted, got):
    if name in ROUNDED and wanted is not None and got is not None:
        return not math.isclose(wanted, got, rel_tol=1e-9, abs_tol=1e-9)
    return wanted != got


def compare(program, stream, wanted, got):
    """Prints the first difference; whether there was none."""
    for i, (w, g) in enumerate(zip(wanted, got)):
        bad = [name for name in w if name not in g or differs(name, w[name], g[name])] + [n for n in g if n not in w]
        if bad:
            print(f"{program}: {stream} row {i + 1} differs in {', '.join(bad)}\n  duckdb   {w}\n  varpulis {g}")
            return False
    if len(wanted) != len(got):
        print(f"{program}: {stream} has {len(got)} rows, DuckDB {len(wanted)}")
        return False
    print(f"{program}: {stream} {len(got)} rows agree")
    return True


def data_files(only_slice):
    places = [Path(os.environ["NYCFLIGHTS_DIR"])] if "NYCFLIGHTS_DIR" in os.environ else []
    places.append(REPOSITORY.parent / "shared" / "data" / "nycflights13")
    for place in [] if only_slice else places:
        if (place / "flights.csv.zst").exists():
            return place / "flights.csv.zst", place / "weather.csv", place / "planes.csv"
    return tuple(HERE / "data" / f"{name}.csv" for name in ("flights", "weather", "planes"))


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Checks the flight programs against DuckDB.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--slice", action="store_true", help="the three days that ship, even where the year is at hand")
    parser.add_argument("--flags", default="", help="further flags for varpulis, as one string")
    parser.add_argument("--program", choices=QUERIES, help="this program only")
    parser.add_argument("--sql-only", action="store_true", help="run the SQL alone and print how many rows it gives")
    options = parser.parse_args()

    flights, weather, planes = data_files(options.slice)
    db = import_duckdb().connect()
    db.execute("set threads = 1; set timezone = 'UTC'")
    db.execute(LOAD.format(flights=flights, weather=weather, planes=planes, hour=HOUR))
    print(f"data: {flights}")
    agree = True
    for program, streams in QUERIES.items():
        if options.program not in (None, program):
            continue
        wanted = {stream: expected_rows(db, query) for stream, query in streams.items()}
        if options.sql_only:
            print(program, {stream: len(rows) for stream, rows in wanted.items()}, wanted[next(iter(wanted))][:2])
            continue
        inputs = ["-i", f"Flight={flights}"]
        if program in WITH_WEATHER:
            inputs += ["-i", f"Weather={weather}"]
        if program in WITH_PLANES:
            inputs += ["-i", f"Plane={planes}"]
        got = run_program(options.varpulis, program, inputs, options.flags.split())
        for stream in wanted.keys() | got.keys():
            agree &= compare(program, stream, wanted.get(stream, []), got.get(stream, []))
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
