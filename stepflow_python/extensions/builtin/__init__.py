"""Extensions that come with the product, through the same door as everybody's."""
