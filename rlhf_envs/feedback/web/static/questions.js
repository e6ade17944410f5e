// The question screen of each kind of feedback. A kind without one is not handed to this page.
import { ComparisonQuestion } from "./questions/comparison.js";
import { RankingQuestion } from "./questions/ranking.js";
import { RatingQuestion } from "./questions/rating.js";
import { StrengthQuestion } from "./questions/strength.js";

export const QUESTIONS = {
  comparison: ComparisonQuestion,
  ranking: RankingQuestion,
  rating: RatingQuestion,
  strength: StrengthQuestion,
};
