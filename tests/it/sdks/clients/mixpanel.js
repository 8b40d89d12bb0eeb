// What a program sends with mixpanel: ADDRESS KEY.
const { setTimeout: wait } = require("node:timers/promises");
const Mixpanel = require("mixpanel");

const [address, key] = process.argv.slice(2);
const client = Mixpanel.init(key, { host: address.replace("http://", ""), protocol: "http", path: "/in/mixpanel" });

// The SDK gives up at once and says so, and its events have no id: this program sends again, with ids.
const sent = async (send) => {
  for (let tries = 1; ; tries++) {
    const error = await new Promise((done) => send((error) => done([error].flat().find(Boolean))));
    if (!error) return;
    if (tries === 300) throw error;
    await wait(200);
  }
};
const properties = (quantity) => ({ product: "Café crème", price: 19.9, quantity, tags: ["a", "b"] });
const time = new Date(Date.now() - 2 * 24 * 60 * 60 * 1000);
const visitor = { distinct_id: "$device:visitor-1", $device_id: "visitor-1" };
const user = { distinct_id: "user-42" };
(async () => {
  const views = [1, 2].map((quantity) => ({
    event: "Product Viewed",
    properties: { ...properties(quantity), ...visitor, $insert_id: `view-${quantity}` },
  }));
  await sent((done) => client.track_batch(views, done));
  const login = { ...user, $identified_id: "user-42", $anon_id: "$device:visitor-1" };
  await sent((done) => client.track("$identify", login, done));
  await sent((done) => client.track("Order Completed", { ...properties(3), ...user, $insert_id: "order-3" }, done));
  await sent((done) => client.track("Order Completed", { ...properties(4), ...user, time, $insert_id: "order-4" }, done));
  await sent((done) => client.alias("user-42", "visitor-0", done));
  await sent((done) => client.people.set("user-42", { plan: "pro" }, done));
  await sent((done) => client.people.increment("user-42", { logins: 1 }, done));
  await sent((done) => client.groups.set("company", "company-7", { industry: "tea" }, done));
})();
