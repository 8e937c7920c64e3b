"""What developers test with: the two layers under the chat, without the chat."""
