"""What a program sends with segment-analytics-python: ADDRESS KEY."""

import sys
from datetime import UTC, datetime, timedelta

from segment.analytics import Client

address, key = sys.argv[1:]
errors = []
client = Client(key, host=f"{address}/in/segment", on_error=lambda error, _: errors.append(error), gzip=True)


def properties(quantity):
    return {"product": "Café crème", "price": 19.9, "quantity": quantity, "tags": ["a", "b"]}


two_days_ago = datetime.now(UTC) - timedelta(days=2)
client.track(anonymous_id="visitor-1", event="Product Viewed", properties=properties(1))
client.track(anonymous_id="visitor-1", event="Product Viewed", properties=properties(2))
client.identify("user-42", {"plan": "pro"}, anonymous_id="visitor-1")
client.track("user-42", "Order Completed", properties(3))
client.track("user-42", "Order Completed", properties(4), timestamp=two_days_ago)
client.page("user-42", category="Docs", name="Pricing")
client.screen("user-42", name="Pricing")
client.group("user-42", "company-7", {"industry": "tea"})
client.alias("visitor-0", "user-42")
client.flush()
client.join()
if errors:
    sys.exit(f"the SDK reports {errors}")
