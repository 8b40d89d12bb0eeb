// What a program sends with @segment/analytics-node: ADDRESS KEY.
const { Analytics } = require("@segment/analytics-node");

const [address, writeKey] = process.argv.slice(2);
const errors = [];
const client = new Analytics({ writeKey, host: address, path: "/in/segment/v1/batch", flushInterval: 100 });
client.on("error", (error) => errors.push(error));

const properties = (quantity) => ({ product: "Café crème", price: 19.9, quantity, tags: ["a", "b"] });
const timestamp = new Date(Date.now() - 2 * 24 * 60 * 60 * 1000);
const userId = "user-42";
client.track({ anonymousId: "visitor-1", event: "Product Viewed", properties: properties(1) });
client.track({ anonymousId: "visitor-1", event: "Product Viewed", properties: properties(2) });
client.identify({ userId, anonymousId: "visitor-1", traits: { plan: "pro" } });
client.track({ userId, event: "Order Completed", properties: properties(3) });
client.track({ userId, event: "Order Completed", properties: properties(4), timestamp });
client.page({ userId, category: "Docs", name: "Pricing" });
client.screen({ userId, name: "Pricing" });
client.group({ userId, groupId: "company-7", traits: { industry: "tea" } });
client.alias({ userId, previousId: "visitor-0" });
client.closeAndFlush({ timeout: 60000 }).then(() => {
  if (errors.length) {
    console.error("the SDK reports", errors);
    process.exit(1);
  }
});
