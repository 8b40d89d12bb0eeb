"""What a program sends with mixpanel: ADDRESS KEY."""

import sys
from datetime import UTC, datetime, timedelta

from mixpanel import BufferedConsumer, Mixpanel

address, key = sys.argv[1:]
host = address.removeprefix("https://")
consumer = BufferedConsumer(api_host=f"{host}/in/mixpanel", retry_limit=10)
client = Mixpanel(key, consumer=consumer)


def properties(quantity):
    return {"product": "Café crème", "price": 19.9, "quantity": quantity, "tags": ["a", "b"]}


two_days_ago = datetime.now(UTC) - timedelta(days=2)
visitor = "$device:visitor-1"
client.track(visitor, "Product Viewed", properties(1))
client.track(visitor, "Product Viewed", properties(2))
client.track("user-42", "$identify", {"$identified_id": "user-42", "$anon_id": visitor})
client.track("user-42", "Order Completed", properties(3))
client.track("user-42", "Order Completed", properties(4) | {"time": two_days_ago.timestamp()})
# Its own `alias` goes to Mixpanel, whatever the consumer is.
client.track("user-42", "$create_alias", {"alias": "visitor-0"})
client.people_set("user-42", {"plan": "pro"})
client.people_increment("user-42", {"logins": 1})
client.group_set("company", "company-7", {"industry": "tea"})
# What cannot be sent is an exception here.
consumer.flush()
