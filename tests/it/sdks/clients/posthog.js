// What a program sends with posthog-node: ADDRESS KEY.
const { PostHog } = require("posthog-node");

const [address, key] = process.argv.slice(2);
const errors = [];
const client = new PostHog(key, { host: `${address}/in/posthog`, fetchRetryCount: 100, fetchRetryDelay: 500 });
client.on("error", (error) => errors.push(error));

const properties = (quantity) => ({ product: "Café crème", price: 19.9, quantity, tags: ["a", "b"] });
const timestamp = new Date(Date.now() - 2 * 24 * 60 * 60 * 1000);
const distinctId = "user-42";
const login = { $anon_distinct_id: "visitor-1", $set: { plan: "pro" } };
client.capture({ distinctId: "visitor-1", event: "Product Viewed", properties: properties(1) });
client.capture({ distinctId: "visitor-1", event: "Product Viewed", properties: properties(2) });
client.identify({ distinctId, properties: login });
client.capture({ distinctId, event: "Order Completed", properties: properties(3) });
client.capture({ distinctId, event: "Order Completed", properties: properties(4), timestamp });
client.capture({ distinctId, event: "$pageview", properties: { $current_url: "https://shop.example/pricing" } });
client.capture({ distinctId, event: "$screen", properties: { $screen_name: "Pricing" } });
client.capture({ distinctId, event: "$set", properties: { $set: { seats: 5 } } });
client.groupIdentify({ distinctId, groupType: "company", groupKey: "company-7", properties: { industry: "tea" } });
client.alias({ distinctId, alias: "visitor-0" });
client.shutdown(60000).then(() => {
  if (errors.length) {
    console.error("the SDK reports", errors);
    process.exit(1);
  }
});
