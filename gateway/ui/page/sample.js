// A query and documents to begin with: the first answer that a person sees. The best one does not share the most words.

export const QUERY = "How do I get my money back?";

export const DOCUMENTS = [
  "Money transfers abroad take two working days.",
  "How do I get to the shop? Take the tram to the market square.",
  "Gift cards are sold at the desk and online.",
  "Refunds are paid back to the card that you used, within five days.",
  "Our shops are open from nine to six, except on holidays.",
  "The back of the chair is made of beech and can be replaced.",
  "Goods can be returned within thirty days, unused and in their box.",
  "Coins that were minted before 1990 are no longer accepted.",
].join("\n");
