# /// script
# requires-python = ">=3.9"
# dependencies = ["polars>=1"]
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. With your own file below, add:
# # schedule = "0 6 * * *"
# # timezone = "Europe/Berlin"
# timeout = "10m"
# args = { file = "/var/lib/shop/orders.csv", group_by = "country", column = "amount" }
# description = "Totals of a column of a CSV file, by group"
# tags = ["report"]
# ///
"""Adds up one column of a CSV file for each value of another, with `polars`.

dropcron installs `polars` because the header asks for it, once for all scripts that ask for the
same. A cell that is no number fails the run; one that is empty counts as nothing.
"""

import polars

NO_GROUP = "(none)"


def run(file, group_by, column):
    table = read(file, group_by, column)
    totals = table.group_by(group_by).agg(polars.col(column).sum()).sort(group_by)
    for group, total in totals.iter_rows():
        print(f"{group}: {total:,.2f}")
    return {"rows": table.height, "total": table[column].sum(), "groups": dict(totals.iter_rows())}


def read(file, group_by, column):
    types = {group_by: polars.String, column: polars.Float64}
    table = polars.read_csv(file, columns=[group_by, column], schema_overrides=types)
    return table.select(polars.col(group_by).fill_null(NO_GROUP), column)
