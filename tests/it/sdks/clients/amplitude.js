// What a program sends with @amplitude/analytics-node: ADDRESS KEY.
const amplitude = require("@amplitude/analytics-node");

const [address, key] = process.argv.slice(2);
const serverUrl = `${address}/in/amplitude/2/httpapi`;
const { Identify, Revenue, Types } = amplitude;
amplitude.init(key, { serverUrl, flushIntervalMillis: 100, flushMaxRetries: 50, logLevel: Types.LogLevel.None });

const properties = (quantity) => ({ product: "Café crème", price: 19.9, quantity, tags: ["a", "b"] });
const time = Date.now() - 2 * 24 * 60 * 60 * 1000;
const visitor = { device_id: "visitor-1" };
const user = { ...visitor, user_id: "user-42" };
// Not `flush`, which sends nothing again.
const sent = [
  amplitude.track("Product Viewed", properties(1), visitor),
  amplitude.track("Product Viewed", properties(2), visitor),
  amplitude.identify(new Identify().set("plan", "pro"), user),
  amplitude.track("Order Completed", properties(3), user),
  amplitude.track("Order Completed", properties(4), { ...user, time }),
  amplitude.revenue(new Revenue().setPrice(19.9).setQuantity(1), user),
  amplitude.setGroup("company", "company-7", user),
  amplitude.groupIdentify("company", "company-7", new Identify().set("industry", "tea"), user),
];
Promise.all(sent.map((call) => call.promise)).then((results) => {
  const errors = results.filter((result) => result.code !== 200);
  if (errors.length) {
    console.error("the SDK reports", errors);
    process.exit(1);
  }
});
