"""What a program sends with posthog: ADDRESS KEY."""

import sys
from datetime import UTC, datetime, timedelta

from posthog import Posthog

address, key = sys.argv[1:]
errors = []
client = Posthog(
    key,
    host=f"{address}/in/posthog",
    on_error=lambda error, _: errors.append(error),
    gzip=True,
    max_retries=10,
)


def properties(quantity):
    return {"product": "Café crème", "price": 19.9, "quantity": quantity, "tags": ["a", "b"]}


two_days_ago = datetime.now(UTC) - timedelta(days=2)
login = {"$anon_distinct_id": "visitor-1", "$set": {"plan": "pro"}}
client.capture("Product Viewed", distinct_id="visitor-1", properties=properties(1))
client.capture("Product Viewed", distinct_id="visitor-1", properties=properties(2))
client.capture("$identify", distinct_id="user-42", properties=login)
client.capture("Order Completed", distinct_id="user-42", properties=properties(3))
client.capture("Order Completed", distinct_id="user-42", properties=properties(4), timestamp=two_days_ago)
client.capture("$pageview", distinct_id="user-42", properties={"$current_url": "https://shop.example/pricing"})
client.capture("$screen", distinct_id="user-42", properties={"$screen_name": "Pricing"})
client.set(distinct_id="user-42", properties={"seats": 5})
client.group_identify("company", "company-7", {"industry": "tea"}, distinct_id="user-42")
client.alias(previous_id="user-42", distinct_id="visitor-0")
client.shutdown()
if errors:
    sys.exit(f"the SDK reports {errors}")
