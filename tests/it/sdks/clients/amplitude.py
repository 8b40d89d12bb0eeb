"""What a program sends with amplitude-analytics: ADDRESS KEY."""

import sys
import time
from queue import Queue

from amplitude import Amplitude, BaseEvent, EventOptions, Identify, Revenue

address, key = sys.argv[1:]
answers = Queue()
client = Amplitude(key)
client.configuration.server_url = f"{address}/in/amplitude/2/httpapi"
client.configuration.flush_interval_millis = 100
client.configuration.flush_max_retries = 50
client.configuration.callback = lambda event, code, message: answers.put((event.event_type, code, message))


def track(event_type, quantity, **of_whom):
    properties = {"product": "Café crème", "price": 19.9, "quantity": quantity, "tags": ["a", "b"]}
    client.track(BaseEvent(event_type, event_properties=properties, **of_whom))


two_days_ago = int((time.time() - 2 * 24 * 60 * 60) * 1000)
user = {"user_id": "user-42", "device_id": "visitor-1"}
track("Product Viewed", 1, device_id="visitor-1")
track("Product Viewed", 2, device_id="visitor-1")
client.identify(Identify().set("plan", "pro"), EventOptions(**user))
track("Order Completed", 3, **user)
track("Order Completed", 4, time=two_days_ago, **user)
client.revenue(Revenue(price=19.9, quantity=1), EventOptions(**user))
client.set_group("company", "company-7", EventOptions(**user))
client.group_identify("company", "company-7", Identify().set("industry", "tea"), EventOptions(**user))
# `shutdown` gives up what has to be sent again.
answers = [answers.get(timeout=60) for _ in range(8)]
client.shutdown()
errors = [answer for answer in answers if answer[1] != 200]
if errors:
    sys.exit(f"the SDK reports {errors}")
